"""Domain labels that people take for another: mixed scripts, foreign letters that look Latin, letters that fold.

Two payees are compared in their ASCII form, so no look-alike is ever equal to what it imitates; but a person approves
by reading, so a label that is made to be misread is refused. The rules are those that browsers use before they show a
name, taken narrowly: one script a label, and no word of Cyrillic or Greek made of Latin-looking letters only.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_LATIN_RANGES: Final = ((0xDF, 0x17E), (0x1A0, 0x1A1), (0x1AF, 0x1B0), (0x218, 0x21B), (0x1E80, 0x1EF9))
_LATIN_TRAPS: Final = frozenset("ıĸŉſƚ\u0237")
"""Letters of those ranges that are drawn as an ASCII letter, or nearly."""

_LOOKS_LATIN: Final = {
    "CYRILLIC": frozenset("аԁеһіјӏорԛѕԝхуъьҽпгѵѡвкмнтсԍ"),
    "GREEK": frozenset("αικνρυωητορχγϳϲ"),
    "ARMENIAN": frozenset("ոսօհղցզոքյլ"),
}

_TOGETHER: Final = (
    frozenset({"CJK", "HIRAGANA", "KATAKANA"}),
    frozenset({"CJK", "HANGUL"}),
    frozenset({"CJK", "BOPOMOFO"}),
)
"""Scripts that one word is really written in."""

_CJK_EXTRAS: Final = {"々": "CJK", "〇": "CJK", "ー": "KATAKANA"}


def folds_to_ascii(text: str) -> bool:
    """Whether lower-casing would turn a character that is not ASCII into one that is: the Kelvin sign into k."""
    return any(not char.isascii() and any(low.isascii() for low in char.lower()) for char in text)


def misleading(label: str) -> bool:
    """Whether a lower-case label (in Unicode, not punycode) may pass for another one."""
    if label.isascii():
        return False
    letters = [char for char in label if not (char.isascii() and not char.isalpha())]
    scripts = {_script(char) for char in letters if not unicodedata.combining(char)}
    if len(scripts) > 1 and not any(scripts <= together for together in _TOGETHER):
        return True
    if scripts == {"LATIN"}:
        return any(_odd_latin(char) for char in letters)
    (script, *_) = sorted(scripts) or [""]
    return len(scripts) == 1 and set(letters) <= _LOOKS_LATIN.get(script, frozenset())


def _script(char: str) -> str:
    """The script of a letter, by the first word of its name; a digit of another script counts as its script."""
    return _CJK_EXTRAS.get(char) or unicodedata.name(char, "UNNAMED").partition(" ")[0]


def _odd_latin(char: str) -> bool:
    if char.isascii():
        return False
    return char in _LATIN_TRAPS or not any(low <= ord(char) <= high for low, high in _LATIN_RANGES)
