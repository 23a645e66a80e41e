"""The text that travels with a payment to the payee. By default none: a model's words reach nobody unread."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from agentpay_policies.text import stripped

PLACEHOLDERS: Final = ("agent", "amount", "currency", "customer", "payment", "plan")
"""What a template may name: facts that the engine knows, nothing that the model wrote."""

LONGEST_TEMPLATE: Final = 200
LONGEST_MEMO: Final = 500

_PLACE: Final = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class MemoRule:
    """How the memo is made: from the operator's template, or from the model's own description, so many characters."""

    template: str | None = None
    max_chars: int | None = None

    @property
    def kind(self) -> Literal["template", "free"]:
        """Which of the two it is."""
        return "free" if self.template is None else "template"

    def __str__(self) -> str:
        return f"template {self.template!r}" if self.template is not None else f"free, up to {self.max_chars}"


def check_template(text: str) -> str:
    """The template itself.

    Raises:
        ValueError: empty, too long, hidden characters, stray braces, or a placeholder that there is not.
    """
    if not text.strip() or len(text) > LONGEST_TEMPLATE:
        raise ValueError(f"a template has 1 to {LONGEST_TEMPLATE} characters")
    if stripped(text) != text:
        raise ValueError("a template has no control or invisible characters and no line breaks")
    for name in _PLACE.findall(text):
        if name not in PLACEHOLDERS:
            raise ValueError(f"a template may name {', '.join(f'{{{known}}}' for known in PLACEHOLDERS)} only")
    if set(_PLACE.sub("", text)) & set("{}"):
        raise ValueError("a template has no braces but those around a name")
    return text


def render_memo(rule: MemoRule | None, *, description: str, facts: Mapping[str, str]) -> str | None:
    """The memo of one payment, or None where none is sent. Control, bidi and zero-width characters never are.

    `facts` are texts under the names of PLACEHOLDERS; one that is missing is written as nothing.
    """
    if rule is None:
        return None
    if rule.template is None:
        text, longest = description, rule.max_chars or 0
    else:
        text, longest = _PLACE.sub(lambda place: facts.get(place[1], ""), rule.template), LONGEST_MEMO
    return " ".join(stripped(text).split())[:longest].rstrip() or None
