"""Double entry: every event that moved money, posted once."""
