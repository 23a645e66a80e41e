"""Access: may a customer use a feature now, and if not, why not."""
