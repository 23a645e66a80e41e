"""How limits and approval rules differ: each difference in two wordings, one for each way it may be taken.

Every function here compares a stricter with a looser thing and says what the looser one allows more: `looser` is the
sentence for a change in that direction, `tighter` for the change back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from agentpay_policies.money import Money, Price
from agentpay_policies.policy import AgentEntry, ApprovalRule, Limit, Policy, cap_in
from agentpay_policies.windows import Window, format_duration


class Step(NamedTuple):
    """One thing that the second of two policies allows more than the first, said in both directions."""

    looser: str
    tighter: str


def more(who: str, can: str) -> Step:
    """Something that is possible, and was not: `who may can`."""
    return Step(f"{who} may {can}.", f"{who} may no longer {can}.")


def instead(what: str, before: object, after: object) -> Step:
    """A value that is another one."""
    return Step(f"{what} is {after} instead of {before}.", f"{what} is {before} instead of {after}.")


def higher(what: str, before: Iterable[Money | Price], after: Iterable[Money | Price]) -> Iterator[Step]:
    """Caps that are higher or gone."""
    now = {cap.currency: cap for cap in after}
    for cap in before:
        found = now.get(cap.currency)
        if found is None or found.amount > cap.amount:
            yield instead(what, cap, found or "unlimited")


def lower(what: str, before: Iterable[Money], after: tuple[Money, ...]) -> Iterator[Step]:
    """Least amounts that are lower or gone."""
    for least in before:
        found = cap_in(after, least.currency)
        if found is None or found < least:
            yield instead(what, least, found or "gone")


# ---- limits


def limits(where: str, before: tuple[Limit, ...], after: tuple[Limit, ...], *, shared: bool = False) -> Iterator[Step]:
    """Limits that are gone, or that nothing as strict stands for any more."""
    for limit in before:
        if any(_covers(limit, candidate, shared=shared) for candidate in after):
            continue
        same = next((candidate for candidate in after if candidate.id == limit.id), None)
        if same is None:
            yield Step(
                f"{where}: the limit {limit.id} is gone.", f"{where}: the limit {limit.id} is new: {said(limit)}."
            )
        else:
            yield Step(
                f"{where}: the limit {limit.id} is looser: {said(same)} instead of {said(limit)}.",
                f"{where}: the limit {limit.id} is tighter: {said(limit)} instead of {said(same)}.",
            )


def _covers(limit: Limit, other: Limit, *, shared: bool) -> bool:
    """Whether the other limit is plainly at least as strict."""
    return (
        _per(limit, shared) == _per(other, shared)
        and _of(limit, shared) <= _of(other, shared)
        and _adds_up(limit, other)
        and within(limit.window, other.window)
        and _no_higher(limit, other)
    )


def _per(limit: Limit, shared: bool) -> str | None:
    """What is counted apart; under an agent, `per: agent` is the node itself."""
    return None if limit.per == "agent" and not shared else limit.per


def _of(limit: Limit, shared: bool) -> frozenset[str]:
    """The operations that add up: of a section its own, which every limit there counts, so that it need not be said."""
    return frozenset(limit.operations or (("charge", "subscribe") if shared else ()))


def _adds_up(limit: Limit, other: Limit) -> bool:
    """Whether the other limit counts at least the directions that this one counts for each request of its own."""
    ways, others = set(limit.directions), set(other.directions)
    return ways == others or others == {"collect", "send"} or (not others and len(ways) == 1)


def within(window: Window, other: Window) -> bool:
    """Whether whatever this window counts is counted by the other too."""
    if other.kind == "lifetime":
        return True
    if window.kind == other.kind == "rolling":
        assert window.length is not None and other.length is not None
        return other.length >= window.length
    if window.kind == other.kind == "calendar" and window.tz == other.tz:
        return window.unit == other.unit or (window.unit, other.unit) in _NESTED
    return False


_NESTED: Final = frozenset({("day", "week"), ("day", "month"), ("day", "year"), ("month", "year")})


def _no_higher(limit: Limit, other: Limit) -> bool:
    if limit.count is not None:
        return other.count is not None and other.count <= limit.count
    return all((cap := cap_in(other.amounts, money.currency)) is not None and cap <= money for money in limit.amounts)


def said(limit: Limit) -> str:
    """A limit in a few words: `150.00 USD in rolling 1d per customer`."""
    cap = str(limit.count) if limit.count is not None else " / ".join(map(str, limit.amounts))
    per = f" per {limit.per}" if limit.per else ""
    of = f" of {' + '.join(limit.operations)}" if limit.operations else ""
    ways = f" ({' + '.join(limit.directions)})" if limit.directions else ""
    return f"{cap} in {limit.window}{of}{per}{ways}"


# ---- approvals


def approvals(who: str, before: tuple[Policy, AgentEntry], after: tuple[Policy, AgentEntry]) -> Iterator[Step]:
    """Rules that are gone, that ask more rarely, fewer people, or others."""
    rules = {rule.id: rule for rule in after[1].approvals}
    for rule in before[1].approvals:
        where = f"{who}, approval {rule.id}"
        if (now := rules.get(rule.id)) is None:
            yield Step(f"{where}: nobody is asked any more.", f"{where}: the rule is new: people are asked.")
            continue
        yield from _asked(where, rule, now)
        yield from _conditions(where, rule, now)
        people = set(before[0].group(rule.approvers).members)
        for member in after[0].group(now.approvers).members:
            if now.approvers != rule.approvers and member not in people:
                yield Step(f"{where}: {member} may approve.", f"{where}: {member} may no longer approve.")


def _asked(where: str, rule: ApprovalRule, now: ApprovalRule) -> Iterator[Step]:
    if now.quorum < rule.quorum:
        yield Step(
            f"{where}: {now.quorum} must approve instead of {rule.quorum}.",
            f"{where}: {rule.quorum} must approve instead of {now.quorum}.",
        )
    if now.expires > rule.expires:
        long, short = format_duration(now.expires), format_duration(rule.expires)
        yield Step(
            f"{where}: an approval is good for {long}, not {short}.",
            f"{where}: an approval is good for {short}, not {long}.",
        )


def _conditions(where: str, rule: ApprovalRule, now: ApprovalRule) -> Iterator[Step]:
    """Every condition more lets something through that people were asked for."""
    if now.new_payee and not rule.new_payee:
        yield Step(
            f"{where}: people are asked for new payees only.", f"{where}: people are asked for known payees too."
        )
    if now.duplicate and not rule.duplicate:
        yield Step(f"{where}: people are asked for look-alikes only.", f"{where}: people are asked for others too.")
    for what, before, after in (
        ("amounts", rule.amount_over, now.amount_over),
        ("what nobody approved", rule.unapproved_over, now.unapproved_over),
    ):
        yield from _thresholds(f"{where}: of {what}", before, after)
    for name, words, words_now in (
        ("category", rule.categories, now.categories),
        ("provider", rule.providers, now.providers),
        ("direction", rule.directions, now.directions),
        ("operation", rule.operations, now.operations),
    ):
        if words_now and not (words and set(words) <= set(words_now)):
            yield instead(f"{where}: the {name} that people are asked for", _any(words), _any(words_now))
    if rule.unapproved_window and now.unapproved_window and not within(rule.unapproved_window, now.unapproved_window):
        what = f"{where}: the window of what nobody approved"
        yield instead(what, rule.unapproved_window, now.unapproved_window)


def _thresholds(where: str, before: tuple[Money, ...], after: tuple[Money, ...]) -> Iterator[Step]:
    for threshold in after:
        found = cap_in(before, threshold.currency)
        if found is None or threshold > found:
            old = found or "any amount"
            yield Step(
                f"{where} people are asked above {threshold} instead of {old}.",
                f"{where} people are asked above {old} instead of {threshold}.",
            )


def _any(words: tuple[str, ...]) -> str:
    return " or ".join(words) or "any"
