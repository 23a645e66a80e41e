"""Customers: the application's own id once, ours everywhere else."""
