"""Providers: the protocol (`base`, `outcomes`), which there are (`registry`), what each can do (`limits`), the mock."""
