"""The worker: what an installation needs done beside answering, each job in one place at a time."""
