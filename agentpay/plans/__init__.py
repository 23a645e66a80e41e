"""Plans: what is sold, under which limits, at which price. A subscription keeps the version it began with."""
