"""The doctor: every invariant as a query, with the rows that break it. It reads, and changes nothing."""
