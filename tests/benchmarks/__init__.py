"""Programs that measure; `make bench` runs them. Quote ratios of one run: machines differ, and are noisy."""
