"""YAML text, or a Python mapping, as one plain tree with line numbers; whatever YAML would guess is marked as guessed.

YAML 1.1 reads an unquoted `NO` as false, `1_000` as a number and `12:30` as 750; anchors let a small file explode into
a large one, and tags make objects. So the tree is built from PyYAML's events, before anything is constructed: aliases,
anchors, tags and merge keys are refused, and a scalar is text, a whole number or `other`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal

from agentpay_policies.errors import Fault, PolicyError

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 24
MAX_NODES: Final = 50_000
MAX_FAULTS: Final = 100

Kind = Literal["text", "integer", "other"]

_INTEGER: Final = re.compile(r"(0|[1-9][0-9]{0,17})\Z")
_GUESSED: Final = re.compile(
    r"([yYnN]|[0-9]+(:[0-9]+)+|0[ox][0-9a-fA-F]+|[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?)\Z"
)
"""What PyYAML leaves as text and another reader of YAML, 1.1 or 1.2, takes for something else."""


# What PyYAML was seen to raise on hostile text besides its own errors, such as chr() of a code point that is none.
_PARSER_FAULTS: Final = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError, RecursionError)


@dataclass(frozen=True)
class Scalar:
    """A leaf: text as written, a whole number, or what is neither. `shown` is how it stands in the file."""

    line: int
    kind: Kind
    shown: str

    @property
    def noun(self) -> str:
        """What the leaf is, for a message."""
        return {"text": "text", "integer": "a number"}.get(self.kind, "an unquoted value" if self.shown else "nothing")


@dataclass(frozen=True)
class Items:
    """A list."""

    line: int
    items: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Table:
    """A mapping, with every entry as it was written: duplicates and odd keys are found by the reader of the tree."""

    line: int
    entries: tuple[tuple[Scalar, Node], ...] = ()


Node = Scalar | Items | Table


def fail(line: int, pointer: str, message: str) -> PolicyError:
    """The error for a file that cannot be read at all."""
    return refusal([Fault(line, pointer, message)])


def refusal(faults: list[Fault]) -> PolicyError:
    """One error for all faults, by line; of very many the first."""
    ordered = sorted(dict.fromkeys(faults), key=lambda fault: (fault.line, fault.pointer, fault.message))
    count = len(ordered)
    if count > MAX_FAULTS:
        ordered = [*ordered[:MAX_FAULTS], Fault(ordered[-1].line, "", f"and {count - MAX_FAULTS} more faults")]
    text = "; ".join(map(str, ordered[:3])) + (f"; and {count - 3} more" if count > 3 else "")
    return PolicyError(f"The policy has {count} fault{'s' if count > 1 else ''}: {text}", faults=ordered)


@dataclass
class _Open:
    """A list or mapping that the events have not closed yet."""

    line: int
    is_table: bool
    children: list[Node] = field(default_factory=list)


def parse_yaml(text: str) -> Node:
    """The tree of one YAML document.

    Raises:
        PolicyError: too large, too deep, no YAML, more than one document, or anchors, aliases, tags.
    """
    import yaml

    if not isinstance(text, str):
        raise fail(0, "", f"a policy is text, not {type(text).__name__}")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise fail(0, "", f"the file is larger than {MAX_BYTES} bytes")
    try:
        return _Builder().build(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        problem = getattr(exc, "problem", None) or getattr(exc, "reason", None) or "not readable"
        raise fail(mark.line + 1 if mark else 0, "", f"this is no YAML: {problem}") from exc
    except _PARSER_FAULTS as exc:
        raise fail(0, "", "this is no YAML") from exc


class _Builder:
    """Builds the tree from events, without recursion, and refuses as soon as it can."""

    def __init__(self) -> None:
        import yaml

        self._yaml = yaml
        self._resolve: Any = yaml.SafeLoader("").resolve
        self._stack: list[_Open] = []
        self._root: Node | None = None
        self._nodes = 0

    def build(self, events: Iterator[Any]) -> Node:
        yaml = self._yaml
        for event in events:
            line = event.start_mark.line + 1 if event.start_mark else 0
            self._refuse(event, line)
            if isinstance(event, yaml.ScalarEvent):
                self._put(self._scalar(event, line))
            elif isinstance(event, yaml.CollectionStartEvent):
                if len(self._stack) >= MAX_DEPTH:
                    raise fail(line, "", f"nested deeper than {MAX_DEPTH} levels")
                self._stack.append(_Open(line, isinstance(event, yaml.MappingStartEvent)))
            elif isinstance(event, yaml.CollectionEndEvent):
                self._put(_closed(self._stack.pop()))
        if self._root is None:
            raise fail(0, "", "the file is empty")
        return self._root

    def _refuse(self, event: Any, line: int) -> None:
        yaml = self._yaml
        if getattr(event, "anchor", None) is not None:
            raise fail(line, "", "anchors (&) and aliases (*) are not accepted; quote a text that begins so")
        if getattr(event, "tag", None) is not None:
            raise fail(line, "", "tags (!) are not accepted; quote a text that begins so")
        if isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
            raise fail(line, "", "there is more than one document in the file")

    def _put(self, node: Node) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise fail(node.line, "", f"more than {MAX_NODES} entries")
        if self._stack:
            self._stack[-1].children.append(node)
        else:
            self._root = node

    def _scalar(self, event: Any, line: int) -> Scalar:
        value = str(event.value)
        if not event.implicit[0]:
            return Scalar(line, "text", value)
        tag = str(self._resolve(self._yaml.ScalarNode, value, (True, False))).rpartition(":")[2]
        if tag == "str":
            return Scalar(line, "other" if _GUESSED.match(value) else "text", value)
        return Scalar(line, "integer" if tag == "int" and _INTEGER.match(value) else "other", value)


def _closed(opened: _Open) -> Node:
    if not opened.is_table:
        return Items(opened.line, tuple(opened.children))
    keys, values = opened.children[::2], opened.children[1::2]
    pairs = zip(keys, values, strict=True)
    return Table(opened.line, tuple((_as_key(key), value) for key, value in pairs))


def _as_key(node: Node) -> Scalar:
    if isinstance(node, Scalar):
        return node
    raise fail(node.line, "", "a key is text, not a list or a mapping")


def parse_mapping(mapping: Mapping[str, object]) -> Node:
    """The tree of a Python mapping, under the same rules; it has no lines.

    Raises:
        PolicyError: no mapping, too large, too deep (one that holds itself included).
    """
    if not isinstance(mapping, Mapping):
        raise fail(0, "", f"a policy is a mapping, not {type(mapping).__name__}")
    count = 0

    def node(value: object, depth: int) -> Node:
        nonlocal count
        count += 1
        if depth > MAX_DEPTH:
            raise fail(0, "", f"nested deeper than {MAX_DEPTH} levels")
        if count > MAX_NODES:
            raise fail(0, "", f"more than {MAX_NODES} entries")
        if isinstance(value, Mapping):
            return Table(0, tuple((leaf(key), node(child, depth + 1)) for key, child in value.items()))
        if isinstance(value, list | tuple):
            return Items(0, tuple(node(child, depth + 1) for child in value))
        return leaf(value)

    def leaf(value: object) -> Scalar:
        if isinstance(value, str):
            if len(value) > MAX_BYTES:
                raise fail(0, "", f"a text is longer than {MAX_BYTES} characters")
            return Scalar(0, "text", str.__str__(value))
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**18:
            return Scalar(0, "integer", str(int(value)))
        shown = str(value) if isinstance(value, float | Decimal) else type(value).__name__
        if isinstance(value, bool):
            shown = "true" if value else "false"
        return Scalar(0, "other", "" if value is None else shown)

    return node(mapping, 1)
