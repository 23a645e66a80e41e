"""Payments: charge and refund, their attempts, what became of them, and recovery."""
