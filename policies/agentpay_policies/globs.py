"""Patterns with `*`, which stands for any characters: of agents and of customers. Nothing else is special."""

from __future__ import annotations

from collections.abc import Iterable


def is_glob(pattern: str) -> bool:
    """Whether the entry is a pattern and no exact id."""
    return "*" in pattern


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text is what the pattern says; without a star, whether it is the same text."""
    first, *middle = pattern.split("*")
    if not middle:
        return pattern == text
    last = middle.pop()
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    place, end = len(first), len(text) - len(last)
    for part in middle:
        # The leftmost place is always as good as any: no backtracking, so hostile text cannot make it slow.
        if (found := text.find(part, place, end)) < 0:
            return False
        place = found + len(part)
    return True


def most_specific(patterns: Iterable[str], text: str) -> str | None:
    """Of the patterns that match, the one that leaves least open; in whatever order they come."""
    found = [pattern for pattern in patterns if matches(pattern, text)]
    return max(found, key=_specificity, default=None)


def _specificity(pattern: str) -> tuple[int, int, str]:
    stars = pattern.count("*")
    return len(pattern) - stars, -stars, pattern


def overlap(one: str, other: str) -> bool:
    """Whether some text matches both patterns."""
    reachable = {(0, 0)}
    seen: set[tuple[int, int]] = set()
    while reachable:
        left, right = state = reachable.pop()
        if state in seen:
            continue
        seen.add(state)
        if left == len(one) and right == len(other):
            return True
        star_left, star_right = one[left : left + 1] == "*", other[right : right + 1] == "*"
        if star_left:
            reachable |= {(left + 1, right)} | ({(left, right + 1)} if right < len(other) else set())
        if star_right:
            reachable |= {(left, right + 1)} | ({(left + 1, right)} if left < len(one) else set())
        if not star_left and not star_right and left < len(one) and right < len(other) and one[left] == other[right]:
            reachable.add((left + 1, right + 1))
    return False
