"""Webhooks in: what providers tell, verified, stored once, and applied in any order to the same end."""
