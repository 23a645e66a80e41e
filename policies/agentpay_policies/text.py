"""Hostile text: what agents, customers and providers wrote, made safe to read.

Agents and clients read it with control, bidi and zero-width characters stripped; where a person decides, the same
characters are shown as escapes, so that nothing hides in them.
"""

from __future__ import annotations

import unicodedata

from agentpay_policies.errors import ValidationError

_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u034f\u17b4\u17b5\u2800")


def _hidden(char: str) -> bool:
    return unicodedata.category(char) in _HIDDEN_CATEGORIES or char in _INVISIBLE or "\ufe00" <= char <= "\ufe0f"


def stripped(text: str) -> str:
    """The text without control, bidi and zero-width characters; line breaks and tabs become spaces."""
    spaced = (" " if char in "\n\r\t" else char for char in text)
    return "".join(char for char in spaced if not _hidden(char))


def escaped(text: str) -> str:
    """The text with every hidden character written as an escape, for a person who decides by it."""
    return "".join(
        char.encode("unicode_escape", "surrogatepass").decode("ascii") if _hidden(char) else char for char in text
    )


def identifier(value: object, what: str, *, longest: int = 200) -> str:
    """An opaque id, checked: 1 to `longest` characters, with no hidden character in it. Kept exactly as given.

    Raises:
        ValidationError: not text, empty, too long, or with characters that nobody can see.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValidationError(f"{what} must be text of 1 to {longest} characters.")
    if len(value) > longest:
        raise ValidationError(f"{what} has {len(value)} characters; at most {longest} are accepted.")
    if any(_hidden(char) for char in value if not _joins_emoji(char)):
        raise ValidationError(f"{what} has control or invisible characters in it: {escaped(value)[:80]}")
    return value


def _joins_emoji(char: str) -> bool:
    return char in "\u200d\ufe0f"


def free_text(value: object, what: str, *, longest: int = 500) -> str:
    """Free text as an agent wrote it, checked for its length only: it is shown stripped or escaped, never refused.

    Raises:
        ValidationError: not text, empty, too long, or not storable (NUL, lone surrogates).
    """
    if not isinstance(value, str) or not value.strip():
        raise ValidationError(f"{what} must be text of 1 to {longest} characters.")
    if len(value) > longest:
        raise ValidationError(f"{what} has {len(value)} characters; at most {longest} are accepted.")
    return storable(value)


def storable(text: str) -> str:
    """The text with what no database keeps, NUL and lone surrogates, shown as the replacement character."""
    return "".join(char if char != "\x00" and unicodedata.category(char) != "Cs" else "\ufffd" for char in text)
