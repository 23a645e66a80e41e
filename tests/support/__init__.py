"""What the tests stand on: fresh databases, threads and processes that start together, invariants."""
