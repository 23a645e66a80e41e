"""The setting of the throttle."""

from __future__ import annotations

import pytest

from agentpay.errors import ConfigurationError
from agentpay.spending.throttle import Throttle


@pytest.mark.parametrize(
    ("text", "keys", "refusals"),
    [("600/120", 600, 120), (" 1 / 2 ", 1, 2), ("0/0", 0, 0), ("off", None, None), (" OFF ", None, None)],
)
def test_it_is_two_numbers_or_off(text: str, keys: int | None, refusals: int | None) -> None:
    assert Throttle.parse(text) == Throttle(keys, refusals)


@pytest.mark.parametrize("text", ["", "600", "600/", "/120", "-1/5", "1.5/2", "a/b", "1/2/3", "on", "no"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="600/120") as caught:
        Throttle.parse(text)
    assert caught.value.next_step
