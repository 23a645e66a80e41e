"""Reads the tree of a policy file with types, and collects every fault instead of stopping at the first."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Final, TypeVar

from agentpay_policies.errors import Fault, ValidationError
from agentpay_policies.language import NAME, PATTERN, SECTIONS
from agentpay_policies.money import Money, Price
from agentpay_policies.text import escaped, identifier
from agentpay_policies.tree import Items, Node, Scalar, Table
from agentpay_policies.windows import format_duration, parse_duration

Item = TypeVar("Item")
Word = TypeVar("Word", bound=str)
Coin = TypeVar("Coin", Money, Price)

PLAIN_NAME: Final = re.compile(NAME.rstrip("$") + r"\Z")
PATTERN_NAME: Final = re.compile(PATTERN.rstrip("$") + r"\Z")

_FRACTION: Final = re.compile(r"(0\.[0-9]{1,3}|1(\.0{1,3})?)\Z")


@dataclass
class Log:
    """The faults found so far, and the line of everything that was read."""

    faults: list[Fault] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    _pointers: set[str] = field(default_factory=set)

    def add(self, line: int, pointer: str, message: str) -> None:
        """Note a fault of what is written at a place."""
        self.faults.append(Fault(line, pointer, message))
        while pointer:
            self._pointers.add(pointer)
            pointer = parent_of(pointer)

    def add_meaning(self, pointer: str, message: str) -> None:
        """Note a fault of what the policy means; not where the place itself could not be read, for then it follows."""
        if pointer in self._pointers:
            return
        place = pointer
        while place and place not in self.lines:
            place = parent_of(place)
        self.faults.append(Fault(self.lines.get(place, 0), pointer, message))


def parent_of(pointer: str) -> str:
    """The place that holds a place: `a.b` holds `a.b.c`, and `a.b` holds `a.b[0]`."""
    cut = max(pointer.rfind("."), pointer.rfind("["))
    return pointer[:cut] if cut > 0 else ""


def shown(text: str) -> str:
    """A text of the file, short and with nothing hidden in it, for a message."""
    return f"'{escaped(text[:60])}'"


@dataclass(frozen=True)
class Cursor:
    """One place of the tree. Every reader gives what is there, or None after noting the fault."""

    node: Node
    pointer: str
    log: Log

    def __post_init__(self) -> None:
        self.log.lines.setdefault(self.pointer, self.node.line)

    def fault(self, message: str) -> None:
        """Note a fault of this place."""
        self.log.add(self.node.line, self.pointer, message)

    # ---- mappings and lists

    def children(self) -> dict[str, Cursor]:
        """The entries of a mapping by key: each key text, and once."""
        if not isinstance(self.node, Table):
            self.fault("must be a mapping" + self._found())
            return {}
        found: dict[str, Cursor] = {}
        for key, value in self.node.entries:
            pointer = f"{self.pointer}.{key.shown[:60]}".lstrip(".")
            if key.kind != "text" or key.shown == "<<":
                what = "merge keys are not accepted" if key.shown == "<<" else "write this key in quotes"
                self.log.add(key.line, pointer, what)
            elif key.shown in found:
                self.log.add(key.line, pointer, f"the key {shown(key.shown)} stands twice")
            else:
                found[key.shown] = Cursor(value, pointer, self.log)
        return found

    def section(self, name: str) -> dict[str, Cursor]:
        """The entries of a section of the language: its own fields only, and what must be there."""
        described = SECTIONS[name]
        found = self.children()
        for key in [key for key in found if key not in described]:
            found.pop(key).fault(f"unknown key{_did_you_mean(key, tuple(described))}")
        if isinstance(self.node, Table):
            for key in described:
                if described[key].required and key not in found and not self._stands(key):
                    self.fault(f"{key} is missing")
        return found

    def items(self) -> list[Cursor]:
        """The items of a list."""
        if not isinstance(self.node, Items):
            self.fault("must be a list" + self._found())
            return []
        return [Cursor(item, f"{self.pointer}[{index}]", self.log) for index, item in enumerate(self.node.items)]

    def named_items(self, what: str) -> list[tuple[str, Cursor]]:
        """The items of a list of mappings, each under the id that it gives itself; no id twice."""
        found: list[tuple[str, Cursor]] = []
        seen: set[str] = set()
        for item in self.items():
            name = _own_id(item.node)
            if name is None:
                found.append(("", item))
                continue
            named = Cursor(item.node, f"{self.pointer}.{name}", self.log)
            if name in seen:
                named.fault(f"two {what} have the id {shown(name)}")
            seen.add(name)
            found.append((name, named))
        return found

    # ---- scalars

    def text(self) -> str | None:
        """Text, written as text: what YAML would read as a number, a boolean or a date must be quoted."""
        if not isinstance(self.node, Scalar):
            self.fault("must be text" + self._found())
        elif self.node.kind == "text":
            return self.node.shown
        else:
            self.fault("is empty" if not self.node.shown else f'write it in quotes: "{escaped(self.node.shown[:60])}"')
        return None

    def integer(self, least: int, most: int) -> int | None:
        """A whole number within bounds."""
        if not isinstance(self.node, Scalar) or self.node.kind != "integer":
            self.fault(f"must be a whole number without quotes, from {least} to {most}" + self._found())
        elif not least <= int(self.node.shown) <= most:
            self.fault(f"must be from {least} to {most}")
        else:
            return int(self.node.shown)
        return None

    def choice(self, words: Sequence[Word]) -> Word | None:
        """One of a closed set of words."""
        if (value := self.text()) is None:
            return None
        for word in words:
            if word == value:
                return word
        self.fault(f"must be one of {', '.join(words)}{_did_you_mean(value, words)}")
        return None

    def choices(self, words: Sequence[Word], what: str) -> tuple[Word, ...]:
        """One word of a closed set, or a list of such, each once; in the order of the set."""
        found = self.one_or_more(lambda item: item.choice(words), what)
        return tuple(word for word in words if word in found)

    def one_or_more(self, read: Callable[[Cursor], Item | None], what: str = "one") -> tuple[Item, ...]:
        """What `read` makes of the place, or of each item where it is a list, which is not empty."""
        if not isinstance(self.node, Items):
            found = read(self)
            return () if found is None else (found,)
        if not self.node.items:
            self.fault(f"names no {what}")
        return self.unique(read)

    def boolean(self) -> bool | None:
        """true or false, written so and without quotes."""
        if isinstance(self.node, Scalar) and self.node.kind == "other" and self.node.shown in ("true", "false"):
            return self.node.shown == "true"
        self.fault("must be true or false, without quotes" + self._found())
        return None

    def fraction(self) -> Decimal | None:
        """A part of one, above 0 and up to 1, with up to three decimals. It is read as it is written, never rounded."""
        if isinstance(self.node, Scalar) and _FRACTION.match(self.node.shown) and Decimal(self.node.shown):
            return Decimal(self.node.shown).normalize()
        self.fault("must be a part of 1, above 0, with up to three decimals, such as 0.8" + self._found())
        return None

    def parsed(self, parse: Callable[[str], Item], *, why: bool = True) -> Item | None:
        """Text that `parse` makes something of, or says by ValueError why it does not."""
        if (value := self.text()) is None:
            return None
        try:
            return parse(value)
        except ValidationError as exc:
            self.fault(exc.message)
        except ValueError as exc:
            self.fault(str(exc) if why else f"{shown(value)} is not accepted")
        return None

    def name(self, what: str, *, longest: int = 200) -> str | None:
        """An opaque id that stands in the file: text with nothing hidden in it, nor around it."""

        def check(value: str) -> str:
            if value != value.strip():
                raise ValueError(f"{what} must not begin or end with a space")
            return identifier(value, what, longest=longest)

        return self.parsed(check)

    def plain_name(self, accepted: re.Pattern[str] = PLAIN_NAME) -> str | None:
        """A name that the operator gives to a part of the policy, and that pointers and counters are made with."""
        value = self.text()
        return value if value is not None and self.is_name(value, accepted) else None

    def is_name(self, value: str, accepted: re.Pattern[str] = PLAIN_NAME) -> bool:
        """Whether the text may be such a name; a fault where not."""
        if not accepted.match(value):
            star = " *" if accepted is PATTERN_NAME else ""
            self.fault(f"{shown(value)} is no name: use letters, digits and . _ @ : / + -{star}")
            return False
        return True

    def duration(self, least: timedelta, most: timedelta) -> timedelta | None:
        """A duration within bounds."""
        length = self.parsed(parse_duration)
        if length is not None and not least <= length <= most:
            self.fault(f"must be from {format_duration(least)} to {format_duration(most)}")
            return None
        return length

    # ---- lists of scalars

    def unique(self, read: Callable[[Cursor], Item | None]) -> tuple[Item, ...]:
        """What `read` makes of each item of a list, each once."""
        found: list[Item] = []
        seen: set[Item] = set()
        for cursor in self.items():
            item = read(cursor)
            if item is not None and item in seen:
                cursor.fault("stands twice")
            elif item is not None:
                found.append(item)
                seen.add(item)
        return tuple(found)

    def amounts(self, kind: type[Coin]) -> tuple[Coin, ...]:
        """One amount with its currency, or a list of such, one a currency; sorted by currency."""
        places = self.items() if isinstance(self.node, Items) else [self]
        if isinstance(self.node, Items) and not places:
            self.fault("names no amount")
        found: dict[str, Coin] = {}
        for place in places:
            coin = place.parsed(lambda text: _coin(kind, text))
            if coin is not None and coin.currency in found:
                place.fault(f"{coin.currency} stands twice")
            elif coin is not None:
                found[coin.currency] = coin
        return tuple(found[currency] for currency in sorted(found))

    # ---- helpers

    def _found(self) -> str:
        if isinstance(self.node, Scalar):
            return f", not {self.node.noun}"
        return ", not a list" if isinstance(self.node, Items) else ", not a mapping"

    def _stands(self, key: str) -> bool:
        return isinstance(self.node, Table) and any(found.shown == key for found, _ in self.node.entries)


def _coin(kind: type[Coin], text: str) -> Coin:
    number, space, currency = text.partition(" ")
    if not space or not currency:
        raise ValueError('an amount has its currency behind it, such as "50.00 USD"')
    return kind(number, currency)


def _own_id(node: Node) -> str | None:
    """The id of a list's item, where it is one."""
    entries = node.entries if isinstance(node, Table) else ()
    ids = [value.shown for key, value in entries if key.shown == "id" and isinstance(value, Scalar)]
    return ids[0] if ids and PLAIN_NAME.match(ids[0]) else None


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word[:40], known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(known)}"
