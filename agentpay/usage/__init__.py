"""Usage: what a customer may use, what was used, and what it costs; exact under concurrency."""
