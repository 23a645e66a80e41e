"""The long proof: the whole crash matrix, and random runs with random kills, on both databases.

Run it from the repository with `PYTHONPATH=tests python -m soak`; `--help` has its options. It prints a table and ends
with 1 where money moved twice, was lost, an invariant broke, or a part was left out.
"""
