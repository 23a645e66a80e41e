"""Watching the chain: its logs are read into the books, and every deposit that they touch is judged anew.

Reading goes over blocks that were read before again, as far as a reorganisation may reach: a log that an endpoint left
out is found later, and a block that is no longer on the chain is noticed by its hash. What changes is kept as news for
the engine, in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from agentpay.providers.crypto import queries
from agentpay.providers.crypto.books import Books
from agentpay.providers.crypto.config import ChainConfig
from agentpay.providers.crypto.deposits import COOLING
from agentpay.providers.crypto.matching import Arrived, Sight, Terms, Verdict, judge
from agentpay.providers.crypto.rpc import ChainFault, Head, Log, Rpc, View
from agentpay.storage.transaction import Row, Tx

_RANGES: Final = 25
"""How many ranges of blocks are read at most at once: the rest is read the next time."""

_RECIPIENTS: Final = 400
"""How many addresses one question for logs names."""


_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Asked:
    """What the books want to know of the chain."""

    floor: int
    first: int | None
    tokens: tuple[str, ...]
    recipients: tuple[str, ...]
    known: tuple[Row, ...]


@dataclass(frozen=True)
class Snapshot:
    """What one endpoint showed: its head, the blocks from `first` to `last`, and which transfers that count are gone;
    `known` are those that counted when it was asked."""

    head: Head
    first: int
    last: int
    sight: Sight
    logs: tuple[Log, ...]
    times: Mapping[int, datetime]
    known: frozenset[str]
    gone: tuple[str, ...]


class Watcher:
    """Keeps the books of deposits up to the chain."""

    def __init__(self, books: Books, rpc: Rpc, config: ChainConfig) -> None:
        self._books = books
        self._rpc = rpc
        self._config = config

    @property
    def floor(self) -> int:
        """The highest block number that was ever seen."""
        row = self._books.read(lambda tx: queries.cursor(tx, self._config.chain))
        return 0 if row is None else int(row.head)

    def sync(self) -> Head:
        """Read what is new, and judge what it changes. Safe to run anywhere at any time.

        Raises:
            ChainFault: no endpoint could be believed; nothing changed.
        """
        asked = self._books.read(self._asked)
        snapshot = self._rpc.on_one(asked.floor, lambda view: self._look(view, asked))
        self._books.write(lambda tx: self._apply(tx, snapshot))
        return snapshot.head

    # -- reading -----------------------------------------------------------------------------------------------------

    def _asked(self, tx: Tx) -> Asked:
        chain = self._config.chain
        row = queries.cursor(tx, chain)
        recipients = set(queries.addresses(tx, chain))
        if self._config.deposit_address is not None:
            recipients.add(self._config.deposit_address)
        tokens = {token.address for token in self._config.tokens} | set(queries.tokens_of(tx, chain))
        watched = tuple(sorted(tokens)), tuple(sorted(recipients))
        if row is None:
            return Asked(0, None, *watched, ())
        first = max(int(row.start) + 1, int(row.scanned) - self._reach)
        return Asked(int(row.head), first, *watched, tuple(queries.transfers_since(tx, chain, first)))

    @property
    def _reach(self) -> int:
        """How many blocks back a reorganisation is looked for."""
        return self._config.overlap + self._config.confirmations

    def _look(self, view: View, asked: Asked) -> Snapshot:
        head = view.head
        first = head.number + 1 if asked.first is None else asked.first
        logs, last = self._logs(view, asked, first)
        for log in logs:
            if view.block(log.block_number).hash != log.block_hash:
                raise ChainFault("bad_answer", "a log is of a block that is not on the chain")
        return Snapshot(
            head=head,
            first=first,
            last=last,
            sight=self._sight(view, last),
            logs=tuple(logs),
            times={log.block_number: view.block(log.block_number).at for log in logs},
            known=frozenset(row.id for row in asked.known if row.canonical),
            gone=self._gone(view, asked, logs, last),
        )

    def _logs(self, view: View, asked: Asked, first: int) -> tuple[list[Log], int]:
        """The logs from a block on, and how far they go. Endpoints want ranges of different sizes, and say so only by
        refusing: then half as many blocks are asked for. What is read is always more than what is read again."""
        found, begin, size, ranges = list[Log](), first, self._config.log_range, 0
        while begin <= view.head.number and (ranges < _RANGES or begin <= first + self._reach + 1):
            end = min(view.head.number, begin + size - 1)
            try:
                found += self._range(view, asked, begin, end)
            except ChainFault as fault:
                if fault.kind != "refused" or begin == end:
                    raise
                size = (end - begin + 1) // 2
                continue
            begin, ranges = end + 1, ranges + 1
        some = [log for log in found if log.units > 0]  # a transfer of nothing is only meant to be seen
        return some, begin - 1

    def _range(self, view: View, asked: Asked, begin: int, end: int) -> list[Log]:
        found: list[Log] = []
        for start in range(0, len(asked.recipients), _RECIPIENTS):
            found += view.logs(asked.tokens, asked.recipients[start : start + _RECIPIENTS], begin, end)
        return found

    def _sight(self, view: View, last: int) -> Sight:
        confirmed = min(view.head.number - self._config.confirmations + 1, last)
        return Sight(confirmed, view.block(max(0, confirmed)).at)

    def _gone(self, view: View, asked: Asked, logs: Sequence[Log], last: int) -> tuple[str, ...]:
        """The known transfers whose block is not on the chain. One that is missing from a block that is makes the
        whole answer one that cannot be believed."""
        there = {transfer_id(self._config.chain, log) for log in logs}
        gone = []
        for row in asked.known:
            if not row.canonical or row.id in there or row.block_number > last:
                continue
            if row.token not in asked.tokens or row.recipient not in asked.recipients:
                continue  # its logs are not asked for any more
            if view.block(row.block_number).hash == row.block_hash:
                raise ChainFault("bad_answer", "a log that was there before is missing from the same block")
            gone.append(row.id)
        return tuple(gone)

    # -- writing -------------------------------------------------------------------------------------------------------

    def _apply(self, tx: Tx, snapshot: Snapshot) -> None:
        chain, head = self._config.chain, snapshot.head
        queries.start_cursor(tx, chain, head.number, head.at)
        row = queries.cursor(tx, chain, lock=True)
        assert row is not None
        if row.head > head.number or row.scanned > snapshot.last:
            return  # another process has seen more meanwhile
        if self._overtaken(tx, snapshot):
            return  # or on other blocks: the next look is held against what it entered
        now = tx.now()
        for log in snapshot.logs:
            self._enter(tx, log, snapshot.times[log.block_number], now)
        queries.set_canonical(tx, snapshot.gone, False)
        queries.move_cursor(tx, chain, head.number, head.at, snapshot.last)
        for deposit in queries.affected(tx, chain, snapshot.first):
            Judging(tx, deposit, now).run(snapshot.sight)
        for transfer in queries.unmatched_since(tx, chain, snapshot.first):
            _judge_unmatched(tx, transfer, snapshot.sight, now)
        queries.free_slots(tx, chain, now - COOLING)

    def _overtaken(self, tx: Tx, snapshot: Snapshot) -> bool:
        """Whether a transfer counts by now that this look neither knew nor saw: it cannot tell whether it should."""
        chain = self._config.chain
        seen = snapshot.known | {transfer_id(chain, log) for log in snapshot.logs}
        rows = queries.transfers_since(tx, chain, snapshot.first)
        return any(row.canonical and row.block_number <= snapshot.last and row.id not in seen for row in rows)

    def _enter(self, tx: Tx, log: Log, at: datetime, now: datetime) -> None:
        chain = self._config.chain
        one = transfer_id(chain, log)
        deposit = queries.deposit_of(tx, chain, log.recipient, log.token, str(log.units))
        if deposit is not None and log.block_number <= deposit.opened_block and at <= deposit.opened_at:
            deposit = None  # it was there before anybody was asked to pay
        new = queries.insert_transfer(
            tx,
            id=one,
            chain=chain,
            token=log.token,
            tx_hash=log.tx_hash,
            log_index=log.log_index,
            block_number=log.block_number,
            block_hash=log.block_hash,
            block_at=at,
            sender=log.sender,
            recipient=log.recipient,
            units=str(log.units),
            deposit_id=None if deposit is None else deposit.id,
            seen_at=now,
        )
        if not new:
            queries.set_canonical(tx, (one,), True)


def transfer_id(chain: int, log: Log) -> str:
    """What a transfer in a block is called."""
    return f"eip155:{chain}:{log.tx_hash}:{log.log_index}:{log.block_hash[2:18]}"


def sight_of(tx: Tx, chain: int, confirmations: int) -> Sight:
    """How far the books are confirmed. Of time it says nothing: that a deadline passed is judged while the chain is
    read, and kept as the deposit's state."""
    row = queries.cursor(tx, chain)
    block = -1 if row is None else min(int(row.head) - confirmations + 1, int(row.scanned))
    return Sight(block, _LONG_AGO)


def terms_of(row: Row) -> Terms:
    """What a deposit asks for."""
    return Terms(int(row.units), row.deadline, int(row.units) - int(row.price))


def arrived_of(rows: Sequence[Row]) -> list[Arrived]:
    """The transfers among rows that are on the canonical chain."""
    return [
        Arrived(row.id, int(row.units), row.block_number, row.log_index, row.block_at) for row in rows if row.canonical
    ]


@dataclass(frozen=True)
class Judging:
    """Judges one deposit anew, and keeps what that changes."""

    tx: Tx
    row: Row
    now: datetime

    def run(self, sight: Sight) -> Verdict:
        """Judge, and write down the differences."""
        rows = queries.transfers_of(self.tx, self.row.id)
        verdict = judge(terms_of(self.row), arrived_of(rows), sight)
        self._move(verdict)
        wanted = {stray.transfer: stray for stray in verdict.strays}
        for row in rows:
            stray = wanted.get(row.id)
            units, reason = (stray.units, stray.reason) if stray else (0, None)
            _set_stray(self.tx, row, units, reason, self.now, self.row)
        return verdict

    def _move(self, verdict: Verdict) -> None:
        before, after = self.row.state, _after(self.row.state, verdict.state)
        if before == after:
            return
        changes = self.row.changes + 1
        ended = None if after in queries.OPEN_STATES else self.now
        queries.update_deposit(self.tx, self.row.id, state=after, changes=changes, ended_at=ended)
        self._tell(before, after, changes)

    def _tell(self, before: str, after: str, changes: int) -> None:
        deposit, taken_back = self.row, self.row.changes if before == "reversed" else changes
        kind = "deposit.restored" if (before, after) == ("reversed", "paid") else f"deposit.{after}"
        body = {"deposit": deposit.id, "key": deposit.key, "units": deposit.price, "token": deposit.token}
        body["reference"] = f"{deposit.id}:reorganisation:{taken_back}"
        _keep_news(self.tx, deposit.chain, f"{deposit.id}:{changes}", kind, body, self.now)


def _after(before: str, judged: str) -> str:
    """The state of a deposit after it was judged. What was paid and is not any more was taken back, and may return."""
    if judged == "paid":
        return "paid"
    if before in ("paid", "reversed"):
        return "reversed"
    return judged if judged in ("expired", "underpaid") else "waiting"


def _judge_unmatched(tx: Tx, row: Row, sight: Sight, now: datetime) -> None:
    left = int(row.units) if row.canonical and row.block_number <= sight.block else 0
    _set_stray(tx, row, left, "unmatched" if left else None, now, None)


def _set_stray(tx: Tx, row: Row, units: int, reason: str | None, now: datetime, deposit: Row | None) -> None:
    """What of a transfer belongs to no payment, and the news of a change: what was said before is taken back first."""
    if (str(units), reason) == (row.stray_units, row.stray_reason):
        return
    changes = row.stray_changes + 1
    queries.update_transfer(tx, row.id, stray_units=str(units), stray_reason=reason, stray_changes=changes)
    near = None if deposit is None else deposit.id
    if row.stray_reason is not None:
        body = {"reference": f"{row.id}:{row.stray_changes}", "units": row.stray_units, "reason": row.stray_reason}
        _keep_news(
            tx,
            row.chain,
            f"{row.id}:{changes}:back",
            "transfer.taken_back",
            {**body, "token": row.token, "deposit": near},
            now,
        )
    if reason is not None:
        body = {"reference": f"{row.id}:{changes}", "units": str(units), "reason": reason}
        _keep_news(
            tx, row.chain, f"{row.id}:{changes}", "transfer.stray", {**body, "token": row.token, "deposit": near}, now
        )


def _keep_news(tx: Tx, chain: int, news_id: str, kind: str, body: Mapping[str, object], now: datetime) -> None:
    text = json.dumps(dict(body), sort_keys=True, separators=(",", ":"))
    queries.insert_news(tx, id=news_id, chain=chain, kind=kind, body=text, at=now)
