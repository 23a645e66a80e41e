"""The audit: what happened, to what, by whom; in rows that cannot be changed unseen."""
