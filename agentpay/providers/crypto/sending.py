"""Sending: one nonce a transfer, signed bytes that are stored before they are broadcast, and only they again.

    quote → nonce reserved → signed → bytes stored → the engine records the broadcast → marked → broadcast → looked at

A transfer that was not marked was never broadcast, and once its lease is over it never will be: its nonce is free for
another one. From the mark on, its nonce is its own for ever.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from agentpay.errors import ProviderError, ProviderUnsupported
from agentpay.providers.base import Finding, Found, NoAnswer, NotFound, Reference, Request, Steps
from agentpay.providers.crypto import queries
from agentpay.providers.crypto.amounts import shown
from agentpay.providers.crypto.books import Books
from agentpay.providers.crypto.config import ChainConfig, in_coin
from agentpay.providers.crypto.deposits import request_hash
from agentpay.providers.crypto.outgoing import Outgoing, Shown, combined, shown_by
from agentpay.providers.crypto.rpc import ChainFault, Endpoint, Rpc, View
from agentpay.providers.crypto.signers import Signer, Unsigned, signed
from agentpay.providers.crypto.token import TransferCall, balance
from agentpay.providers.outcomes import Declined, NotSent, Outcome, Succeeded, Unknown
from agentpay.storage.transaction import Row, Tx

LEASE: Final = timedelta(seconds=120)
_STEP: Final = "broadcast"
_HEADROOM: Final = 4
"""A quarter more gas than was estimated."""

_ROUGH_GAS: Final = 50_000
"""About what a transfer of a token takes."""

Kind = Literal["charge", "refund"]


class _Refused(Exception):
    """Nothing was signed: why is said by the message, and is proof that nothing was sent."""


@dataclass(frozen=True)
class Quote:
    """What the chain wants for a transfer now, within the operator's bound."""

    used: int
    gas: int
    max_fee: int
    tip: int


@dataclass(frozen=True)
class Outflow:
    """A transfer that is to be sent: what for, whom to, how much. A refund names the deposit that bounds it."""

    kind: Kind
    subject_id: str
    call: TransferCall
    charge_id: str | None = None


class Sender:
    """Sends transfers from one wallet."""

    def __init__(
        self,
        books: Books,
        rpc: Rpc,
        config: ChainConfig,
        signer: Signer,
        *,
        floor: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._books = books
        self._rpc = rpc
        self._config = config
        self._signer = signer
        self._floor = floor
        self._monotonic = monotonic

    def send(self, outflow: Outflow, steps: Steps) -> Outcome:
        """Send a transfer once, whatever happens in between."""
        started, key, request = self._monotonic(), steps.key, steps.request
        try:
            row = self._reserved(key, request, outflow, started)
            raw = self._raw(row)
        except _Refused as refusal:
            return NotSent(str(refusal))
        except ChainFault as fault:
            return NotSent(f"Nothing was signed: {fault.message}"[:400])
        if isinstance(raw, Outcome):
            return raw
        body = {"op": _STEP, "send": row.id, "nonce": row.nonce, "hash": raw.tx_hash, "raw": raw.raw}
        steps.record(_STEP, body, reference=raw.tx_hash)
        recorded, step_key = str(steps.request["raw"]), steps.key
        late = self._monotonic() - started > LEASE.total_seconds()
        if late or not self._books.write(lambda tx: self._mark(tx, row.id, step_key)):
            return NotSent("It took too long, or was given up meanwhile: it was never broadcast.")
        return self._given(row.id, recorded)

    # -- one nonce -----------------------------------------------------------------------------------------------------

    def _reserved(self, key: str, request: Request, outflow: Outflow, started: float) -> Row:
        """The transfer of a key, with a nonce of its own."""
        known = self._books.read(lambda tx: queries.send_by_key(tx, key))
        if known is None:
            quote = self.quote(outflow.call)
            late = self._monotonic() - started > LEASE.total_seconds()
            if late:
                raise _Refused("The chain took too long to answer; nothing was signed.")
            known = self._books.write(lambda tx: self._reserve(tx, key, request, outflow, quote.used))
        if known.request_hash != request_hash(request):
            raise ProviderError("The key names another transfer.")
        if known.state == "released":
            raise _Refused("It was given up before it was broadcast.")
        return known

    def _reserve(self, tx: Tx, key: str, request: Request, outflow: Outflow, used: int) -> Row:
        chain, sender, call = self._config.chain, self._signer.address, outflow.call
        if outflow.charge_id is not None:
            _check_refund(tx, outflow)
        taken = queries.nonces(tx, chain, sender, used)
        nonce = used
        while True:
            while nonce in taken:
                nonce += 1
            queries.insert_send(
                tx,
                id="snd_" + hashlib.sha256(f"send\n{key}".encode()).hexdigest()[:24],
                key=key,
                request_hash=request_hash(request),
                kind=outflow.kind,
                subject_id=outflow.subject_id,
                charge_id=outflow.charge_id,
                chain=chain,
                sender=sender,
                nonce=nonce,
                token=call.token,
                recipient=call.recipient,
                units=str(call.units),
                state="signed",
                created_at=tx.now(),
            )
            row = queries.send_by_key(tx, key)
            if row is not None:
                return row
            taken.add(nonce)  # another process was faster

    def _raw(self, row: Row) -> Row | Outcome:
        """The signed bytes of a transfer: signed once, stored, and the same whenever they are asked for."""
        stored = self._books.read(lambda tx: queries.raws(tx, row.id))
        if stored:
            return stored[-1]
        call = TransferCall(row.token, row.recipient, int(row.units))
        try:
            self._check_wallet(row)
            quote = self.quote(call)
            unsigned = Unsigned(self._config.chain, int(row.nonce), call, quote.gas, quote.max_fee, quote.tip)
            tx_hash, raw = signed(self._signer, unsigned)
        except (ChainFault, ProviderError, _Refused) as exc:
            self._books.write(lambda tx: _release(tx, row.id))
            return NotSent(f"Nothing was signed: {exc}"[:400])
        return self._books.write(lambda tx: _store_raw(tx, row.id, unsigned, tx_hash, raw))

    def quote(self, call: TransferCall) -> Quote:
        """What a transfer would cost now, or why it cannot be made. Nothing is reserved or signed.

        Raises:
            ChainFault: the chain cannot be asked.
        """
        try:
            return self._rpc.on_one(self._floor(), lambda view: self._quote(view, call))
        except ChainFault as fault:
            if fault.kind == "reverted":
                raise _Refused(f"The token refuses the transfer: {fault.message}") from None
            raise

    def _quote(self, view: View, call: TransferCall) -> Quote:
        config, sender = self._config, self._signer.address
        has = balance(view, call.token, sender)
        if has < call.units:
            token = config.token_at(call.token)
            assert token is not None
            raise _Refused(
                f"The wallet {sender} has {shown(has, token.decimals)} {token.currency}, "
                f"and {shown(call.units, token.decimals)} are to be sent."
            )
        coins = view.coins(sender)
        self._check_coins(coins, _ROUGH_GAS * (view.head.base_fee or 0))  # without any, nodes do not even estimate
        gas = view.gas(sender, call.token, call.data) * (_HEADROOM + 1) // _HEADROOM
        max_fee, tip = self._fees(view, gas)
        self._check_coins(coins, gas * max_fee)
        return Quote(view.nonces_used(sender, "pending"), gas, max_fee, tip)

    def _check_coins(self, has: int, needed: int) -> None:
        if has < needed:
            sender = self._signer.address
            raise _Refused(f"The wallet {sender} has {in_coin(has)} for gas, and needs up to {in_coin(needed)}.")

    def _fees(self, view: View, gas: int) -> tuple[int, int]:
        """The most for a unit of gas, and the tip of it: twice the present price, within the operator's bound."""
        base = view.head.base_fee
        if base is None:
            raise ChainFault("bad_answer", "the chain names no base fee (EIP-1559)")
        tip, bound = view.tip(), self._config.max_gas_wei // gas
        least = base * 9 // 8 + tip
        if bound < least:
            raise _Refused(
                f"Gas would cost up to {in_coin(gas * least)}, more than CRYPTO_MAX_GAS, "
                f"{in_coin(self._config.max_gas_wei)}."
            )
        return min(base * 2 + tip, bound), tip

    # -- the network ---------------------------------------------------------------------------------------------------

    def _mark(self, tx: Tx, send_id: str, step_key: str | None) -> bool:
        """Say that the bytes may be out from now on. False where the transfer was given up."""
        row = queries.send(tx, send_id, lock=True)
        if row.state == "released":
            return False
        if row.state == "signed":
            queries.update_send(tx, send_id, state="sent", sent_at=tx.now())
        if step_key is not None:
            queries.update_send(tx, send_id, step_key=step_key)
        return True

    def _given(self, send_id: str, raw: str) -> Outcome:
        """Give the bytes to every endpoint. What they answer proves nothing: the chain is looked at instead."""

        def give(one: Endpoint) -> None:
            one.ask(lambda eth: eth.send_raw_transaction(raw))

        self._rpc.on_all(give)
        try:
            return self._became(send_id)
        except ChainFault as fault:
            newest = self._books.read(lambda tx: queries.raws(tx, send_id))[-1].tx_hash
            return Unknown(f"It was broadcast, and the chain does not answer: {fault.message}"[:400], newest)

    def _became(self, send_id: str) -> Outcome:
        """What became of a transfer that was broadcast, kept where it is final.

        Raises:
            ChainFault: the chain cannot be asked.
        """
        row, raws = self._books.read(lambda tx: (queries.send(tx, send_id), queries.raws(tx, send_id)))
        if row.result is not None:
            return outcome_of(row)
        outcome = self._looked_at(row, tuple(one.tx_hash for one in raws))
        if isinstance(outcome, Succeeded | Declined):
            self._books.write(lambda tx: _keep(tx, send_id, outcome))
        return outcome

    def _looked_at(self, row: Row, hashes: tuple[str, ...]) -> Outcome:
        outgoing = Outgoing(
            row.sender, int(row.nonce), row.token, row.recipient, int(row.units), hashes, row.sent_at or row.created_at
        )
        now, floor = self._books.read(lambda tx: tx.now()), self._floor()

        def look(one: Endpoint) -> Shown:
            view = self._rpc.view(one, floor)
            config = self._config
            return shown_by(
                view,
                outgoing,
                confirmations=config.confirmations,
                overlap=config.overlap,
                now=now,
                stuck_after=config.stuck_after,
            )

        return combined(self._rpc.on_all(look))

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def lookup(self, reference: Reference) -> Finding:
        """What became of a transfer."""
        row = self._books.read(lambda tx: _row_of(tx, reference))
        if row is None:
            return NotFound()
        if row.state == "released":
            return Found(NotSent("It was given up before it was broadcast; its nonce is free again."))
        if row.state == "signed":
            return self._unsent(row, reference)
        try:
            return Found(self._became(row.id))
        except ChainFault as fault:
            return NoAnswer(fault.message)

    def _unsent(self, row: Row, reference: Reference) -> Finding:
        """A transfer that was reserved, and maybe signed, and not broadcast. Where its broadcast was recorded, the same
        bytes may still be sent; otherwise it is given up once its lease is over."""
        if reference.step == _STEP:
            return Found(Unknown("It is signed and stored, and was not broadcast yet.", str(reference.request["hash"])))
        if not self._books.write(lambda tx: _release_stale(tx, row.id)):
            return Found(Unknown("It may be about to be broadcast."))
        return Found(NotSent("It was given up before it was broadcast; its nonce is free again."))

    def resend(self, reference: Reference) -> Outcome:
        """Broadcast the stored bytes again, exactly as they are."""
        row = self._books.read(lambda tx: _row_of(tx, reference))
        if row is None:
            return Unknown("The books do not know it.")
        raws = self._books.read(lambda tx: queries.raws(tx, row.id))
        if not raws or not self._books.write(lambda tx: self._mark(tx, row.id, None)):
            return NotSent("It was given up before it was broadcast; its nonce is free again.")
        return self._given(row.id, raws[-1].raw)

    def speed_up(self, reference: Reference) -> Outcome:
        """Sign the same transfer with the same nonce and higher fees, and broadcast it: at most one of them is mined.

        Raises:
            ProviderError: the fees would exceed the operator's bound, or the chain cannot be asked.
            ProviderUnsupported: there is no transfer to speed up, or it is from another wallet than this one.
        """
        row = self._books.read(lambda tx: _row_of(tx, reference))
        if row is None or row.nonce is None or row.state not in ("signed", "sent"):
            raise ProviderUnsupported("There is no transfer under way that could be sped up.")
        try:
            if row.state == "sent" and isinstance(became := self._became(row.id), Succeeded | Declined):
                return became
        except ChainFault as fault:
            raise ProviderError(f"It was not sped up: {fault.message}", payment_id=row.subject_id) from None
        raw = self._replacement(row)
        if not self._books.write(lambda tx: self._mark(tx, row.id, None)):
            return NotSent("It was given up before it was broadcast; its nonce is free again.")
        return self._given(row.id, raw)

    def _replacement(self, row: Row) -> str:
        """The signed bytes of the same transfer with an eighth more fees at the least, stored."""
        self._check_wallet(row)
        stored = self._books.read(lambda tx: queries.raws(tx, row.id))
        if not stored:
            raise ProviderUnsupported("It was never signed: there is nothing that could be replaced.")
        old = stored[-1]
        call = TransferCall(row.token, row.recipient, int(row.units))
        try:
            max_fee, tip = self._rpc.on_one(self._floor(), lambda view: self._fees(view, old.gas))
        except (ChainFault, _Refused) as exc:
            raise ProviderError(f"It was not sped up: {exc}", payment_id=row.subject_id) from None
        tip = max(tip, int(old.tip) * 9 // 8 + 1)
        max_fee = max(max_fee, int(old.max_fee) * 9 // 8 + 1, tip)
        if max_fee * old.gas > self._config.max_gas_wei:
            bound = in_coin(self._config.max_gas_wei)
            cost = in_coin(max_fee * old.gas)
            raise ProviderError(
                f"It was not sped up: gas would cost up to {cost}, more than CRYPTO_MAX_GAS, {bound}.",
                payment_id=row.subject_id,
            )
        unsigned = Unsigned(self._config.chain, int(row.nonce), call, old.gas, max_fee, tip)
        tx_hash, raw = signed(self._signer, unsigned)
        newest = self._books.write(lambda tx: _store_raw(tx, row.id, unsigned, tx_hash, raw, after=old.number))
        return str(newest.raw)

    def _check_wallet(self, row: Row) -> None:
        """A nonce is one wallet's: the same transfer signed by another one is another transfer, and both are mined."""
        if row.sender != self._signer.address:
            raise ProviderUnsupported(
                f"The transfer is from {row.sender}, and the wallet is {self._signer.address} now; nothing was signed.",
                next_step=f"Configure the key of {row.sender} to sign for it, or wait until the chain shows it.",
            )

    def watch(self, limit: int = 200) -> None:
        """Look at the transfers that are under way; what becomes final is kept as news."""
        for row in self._books.read(lambda tx: queries.open_sends(tx, self._config.chain, limit)):
            self._became(row.id)


def _row_of(tx: Tx, reference: Reference) -> Row | None:
    """The transfer that a reference is about: by its key, or by the hash that its broadcast names."""
    row = queries.send_by_key(tx, reference.key)
    tx_hash = reference.request.get("hash")
    return queries.send_by_hash(tx, str(tx_hash)) if row is None and tx_hash is not None else row


def _release(tx: Tx, send_id: str) -> None:
    """Give a transfer up that was never broadcast: its nonce is free."""
    row = queries.send(tx, send_id, lock=True)
    if row.state == "signed":
        queries.update_send(tx, send_id, state="released", nonce=None)


def _release_stale(tx: Tx, send_id: str) -> bool:
    """Give it up where whoever signed it has no more time to broadcast it."""
    row = queries.send(tx, send_id, lock=True)
    if row.state == "signed" and tx.now() - row.created_at > LEASE + LEASE / 10:
        queries.update_send(tx, send_id, state="released", nonce=None)
        return True
    return bool(row.state == "released")


def _store_raw(tx: Tx, send_id: str, unsigned: Unsigned, tx_hash: str, raw: str, *, after: int = 0) -> Row:
    """Store signed bytes; where another thread has stored some meanwhile, those count."""
    queries.send(tx, send_id, lock=True)
    stored = queries.raws(tx, send_id)
    if len(stored) == after:
        queries.insert_raw(
            tx,
            tx_hash=tx_hash,
            send_id=send_id,
            number=after + 1,
            raw=raw,
            gas=unsigned.gas,
            max_fee=str(unsigned.max_fee),
            tip=str(unsigned.tip),
            signed_at=tx.now(),
        )
        stored = queries.raws(tx, send_id)
    return stored[-1]


def _check_refund(tx: Tx, outflow: Outflow) -> None:
    """Hold a refund against what its charge brought in, with all other refunds of it."""
    deposit = queries.deposit(tx, str(outflow.charge_id), lock=True)
    if deposit is None or deposit.token != outflow.call.token:
        raise _Declined("charge_unknown", "There is no deposit that this could be a refund of.")
    if deposit.state == "reversed":
        raise _Refused("The block of the deposit is no longer on the chain: there is nothing to give back.")
    gone = sum(int(row.units) for row in queries.refunds_of(tx, deposit.id))
    if gone + outflow.call.units > int(deposit.price):
        raise _Declined("refund_exceeds_charge", "More would be refunded than the charge brought in.")


class _Declined(Exception):
    """The books say no."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.outcome = Declined(code, message)


def declined_by_books(call: Callable[[], Outcome]) -> Outcome:
    """What a call answers, or what the books say against it."""
    try:
        return call()
    except _Declined as said:
        return said.outcome


def _keep(tx: Tx, send_id: str, outcome: Succeeded | Declined) -> None:
    """Keep what is final of a transfer, and tell the engine."""
    row = queries.send(tx, send_id, lock=True)
    if row.result is not None:
        return
    final = "succeeded" if isinstance(outcome, Succeeded) else "declined"
    result = json.dumps({"outcome": final, **vars(outcome)}, sort_keys=True)
    queries.update_send(tx, send_id, state=final, result=result)
    body = json.dumps({"key": row.step_key or row.key, "kind": row.kind, "result": result}, sort_keys=True)
    queries.insert_news(tx, id=f"{send_id}:{final}", chain=row.chain, kind=f"send.{final}", body=body, at=tx.now())


def outcome_of(row: Row) -> Outcome:
    """The final outcome that a transfer's row keeps."""
    return parsed_outcome(str(row.result))


def parsed_outcome(text: str) -> Outcome:
    """An outcome as it was kept."""
    kept = json.loads(text)
    if kept["outcome"] == "succeeded":
        return Succeeded(kept["reference"])
    return Declined(kept["code"], kept["message"], kept["reference"])
