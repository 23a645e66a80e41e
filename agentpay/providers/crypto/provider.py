"""Stablecoins on a chain as a payment provider: collects by deposits, refunds and sends by signed transfers."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from agentpay.clock import Clock, SystemClock
from agentpay.errors import ConfigurationError, ModeMismatch, ProviderUnsupported, ValidationError
from agentpay.providers.base import (
    Capabilities,
    Finding,
    Found,
    Health,
    Mode,
    NoAnswer,
    NotFound,
    Order,
    Plain,
    Reference,
    RefundOrder,
    Request,
    Steps,
)
from agentpay.providers.crypto import queries
from agentpay.providers.crypto.amounts import shown
from agentpay.providers.crypto.books import Books
from agentpay.providers.crypto.config import (
    ChainConfig,
    CryptoSettings,
    TokenConfig,
    chain_config,
    in_coin,
    load_crypto,
)
from agentpay.providers.crypto.deposits import NoSlot, Wanted, allocate, instructions
from agentpay.providers.crypto.matching import judge
from agentpay.providers.crypto.news import told
from agentpay.providers.crypto.rpc import ChainFault, Endpoint, Head, Rpc, View, endpoint
from agentpay.providers.crypto.sending import LEASE, Outflow, Sender, declined_by_books
from agentpay.providers.crypto.signers import Signer, signer_from
from agentpay.providers.crypto.token import TransferCall, balance, check
from agentpay.providers.crypto.watching import Watcher, arrived_of, sight_of, terms_of
from agentpay.providers.events import WebhookEvent
from agentpay.providers.outcomes import Declined, NotSent, Outcome, Pending, RequiresAction, Succeeded, Unknown
from agentpay.storage.transaction import Row, Tx
from agentpay_policies.errors import PayeeInvalid
from agentpay_policies.money import Money
from agentpay_policies.payees import Payee, PayeeKind

logger = logging.getLogger(__name__)

NAME: Final = "crypto"
_TELLING: Final = timedelta(days=1)
_NEWS: Final = 500


class CryptoProvider(Plain):
    """See the package. Safe between threads and processes: what it knows is in the books and on the chain."""

    def __init__(
        self,
        config: ChainConfig,
        *,
        database_url: str,
        endpoints: Sequence[Endpoint],
        signer: Signer | None = None,
        clock: Clock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not config.collects and signer is None:
            raise ConfigurationError(
                "There is nothing to do: neither deposits (CRYPTO_XPUB or CRYPTO_DEPOSIT_ADDRESS) nor a wallet to send "
                "from (CRYPTO_KEYSTORE or CRYPTO_PRIVATE_KEY) is configured."
            )
        if config.deposit_address is not None and any(token.decimals < 6 for token in config.tokens):
            raise ConfigurationError("Amounts tell payments apart for tokens of 6 decimals or more: use CRYPTO_XPUB.")
        self._config = config
        self._clock = clock or SystemClock()
        self._monotonic = monotonic
        self._books = Books(database_url, clock=clock)
        self._rpc = Rpc(
            endpoints, chain=config.chain, clock=self._clock, max_lag=config.max_lag, monotonic=monotonic
        )  # fmt: skip
        self._watcher = Watcher(self._books, self._rpc, config)
        self._signer = signer
        self._sender = (
            None
            if signer is None
            else Sender(
                self._books, self._rpc, config, signer, floor=lambda: self._watcher.floor, monotonic=monotonic
            )
        )  # fmt: skip
        self._checked = False

    def __repr__(self) -> str:
        return f"CryptoProvider(chain={self._config.chain}, endpoints={list(self._rpc.labels)})"

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return NAME

    @property
    def account(self) -> str:
        return f"eip155:{self._config.chain}"

    @property
    def mode(self) -> Mode:
        return self._config.mode

    def capabilities(self) -> Capabilities:
        payees: set[PayeeKind] = set()
        if self._config.collects:
            payees.add("self")
        if self._sender is not None:
            payees.add("eip155")
        currencies = frozenset(token.currency for token in self._config.tokens)
        return Capabilities(
            currencies=currencies,
            payees=frozenset(payees),
            refunds=self._sender is not None and self._config.collects,
            partial_refunds=self._sender is not None and self._config.collects,
            methods=frozenset(_method(currency) for currency in currencies),
            chains=frozenset({self._config.chain}),
            lease=LEASE,
            consistent_lookup=True,
        )

    def health(self) -> Health:
        try:
            head, facts, ok = self._rpc.on_one(self._watcher.floor, self._examine)
        except ChainFault as fault:
            return Health(False, f"{fault.kind}: {fault.message}")
        lag = max(0, int((self._clock.now() - head.at).total_seconds()))
        return Health(ok, f"chain {self._config.chain}, block {head.number}, {lag} s old; " + "; ".join(facts))

    def _examine(self, view: View) -> tuple[Head, list[str], bool]:
        facts, ok = [], True
        for token in self._config.tokens:
            check(view, token)
            facts.append(f"{token.currency} {token.address}")
            if self._signer is not None:
                has = shown(balance(view, token.address, self._signer.address), token.decimals)
                facts.append(f"the wallet has {has} {token.currency}")
        if self._signer is not None:
            coins = view.coins(self._signer.address)
            ok = coins > 0
            facts.append(
                f"{in_coin(coins)} for gas" if ok else f"no gas in {self._signer.address}: nothing can be sent"
            )
        if view.head.base_fee is not None:
            facts.append(f"base fee {view.head.base_fee} wei")
        return view.head, facts, ok

    # -- preparing: pure -----------------------------------------------------------------------------------------------

    def prepare(self, order: Order) -> Request:
        token = self._token(order.money, order.method)
        units = str(order.money.minor * token.scale)
        request = {"chain": self._config.chain, "token": token.address, "currency": token.currency, "units": units}
        if order.payee.kind == "self":
            return {"op": "deposit", "payment_id": order.payment_id, **request}
        return {"op": "send", "payment_id": order.payment_id, "to": self._recipient(order.payee), **request}

    def prepare_refund(self, order: RefundOrder) -> Request:
        token = self._token(order.money, None)
        return {
            "op": "refund",
            "refund_id": order.refund_id,
            "deposit": order.charge_reference,
            "to": self._confirmed(order.customer),
            "chain": self._config.chain,
            "token": token.address,
            "currency": token.currency,
            "units": str(order.money.minor * token.scale),
        }

    def _token(self, money: Money, method: str | None) -> TokenConfig:
        token = self._config.token_of(money.currency)
        if token is None:
            raise ProviderUnsupported(f"{NAME} has no token for {money.currency}.")
        if method is not None and method != _method(money.currency):
            raise ProviderUnsupported(f"The method {method[:60]} is another currency than {money.currency}.")
        return token

    def _recipient(self, payee: Payee) -> str:
        if payee.chain != self._config.chain or payee.address is None:
            raise ProviderUnsupported(f"{payee} is on another chain than this wallet, eip155:{self._config.chain}.")
        if self._config.token_at(payee.address) is not None:
            raise ProviderUnsupported(f"{payee} is the token's own contract: what is sent there is lost.")
        if self._signer is not None and payee.address == self._signer.address:
            raise ProviderUnsupported(f"{payee} is the wallet itself.")
        return payee.address

    def _confirmed(self, reference: str | None) -> str:
        """The address that the customer confirmed for refunds. The sender of a deposit is not asked: it may be an
        exchange, which would keep the money."""
        try:
            payee = Payee.parse(reference)
        except PayeeInvalid:
            payee = None
        if payee is None or payee.kind != "eip155":
            raise ProviderUnsupported(
                "The customer has confirmed no address for refunds.",
                next_step="Ask the customer for an address on this chain, and keep it with: agentpay customers link "
                f"CUSTOMER {NAME} eip155:{self._config.chain}:0x…",
            )
        return self._recipient(payee)

    def link(self, customer: str, reference: str) -> None:  # noqa: ARG002
        """A customer is linked to the address that they confirmed for refunds, as `eip155:<chain>:<address>`."""
        payee = Payee.parse(reference)
        if payee.kind != "eip155":
            raise ValidationError(f"A refund address is eip155:{self._config.chain}:0x…")
        try:
            self._recipient(payee)
        except ProviderUnsupported as exc:
            raise ValidationError(exc.message) from None

    # -- collecting ----------------------------------------------------------------------------------------------------

    def charge(self, order: Order, steps: Steps) -> Outcome:
        if order.payee.kind == "self":
            return self._deposit(steps.key, steps.request)
        return self._send(steps, "charge", order.payment_id, None)

    def _deposit(self, key: str, request: Request) -> Outcome:
        started = self._monotonic()
        known = self._books.read(lambda tx: queries.deposit_by_key(tx, key))
        try:
            head = self._check_chain()
            if known is None:
                head = self._watcher.sync()  # from here on its blocks are read
        except ChainFault as fault:
            return NotSent(f"The chain cannot be asked: {fault.message}"[:400])
        token = self._config.token_at(str(request["token"]))
        if token is None:
            return NotSent("The token is not configured any more.")
        deadline = self._clock.now() + self._config.deposit_life
        if known is None and deadline <= head.at:
            return NotSent("The deadline would be in the past: our clock is behind the chain's.")
        wanted = Wanted(key, request, token, int(str(request["units"])), head, deadline)

        def hand_out(tx: Tx) -> Row | None:
            late = known is None and self._monotonic() - started > LEASE.total_seconds()
            return None if late else allocate(tx, self._config, wanted)

        try:
            row = self._books.write(hand_out)
        except NoSlot:
            return NotSent("Every amount of this price is in use at the deposit address.")
        return NotSent("It took too long; nothing was handed out.") if row is None else self._stands(row)

    def _check_chain(self) -> Head:
        """Hold the tokens against the chain, once, before anything is handed out."""
        if not self._checked:
            for token in self._config.tokens:
                self._rpc.on_one(self._watcher.floor, lambda view, token=token: check(view, token))  # type: ignore[misc]
            self._checked = True
        return self._rpc.on_one(self._watcher.floor, lambda view: view.head)

    def _stands(self, row: Row) -> Outcome:
        """How a deposit stands by the books."""
        if row.state == "paid":
            return Succeeded(row.id)
        if row.state == "expired":
            return Declined("expired", "Nothing was paid before the deadline.", row.id)
        if row.state == "underpaid":
            return Declined("underpaid", "Less than the amount was paid before the deadline.", row.id)

        def read(tx: Tx) -> Outcome:
            arrived = arrived_of(queries.transfers_of(tx, row.id))
            verdict = judge(terms_of(row), arrived, sight_of(tx, row.chain, self._config.confirmations))
            if verdict.state in ("seen", "paid"):
                return Pending(row.id)
            return RequiresAction(row.id, instructions=instructions(row, received=verdict.seen))

        return self._books.read(read)

    # -- sending -------------------------------------------------------------------------------------------------------

    def refund(self, order: RefundOrder, steps: Steps) -> Outcome:
        return self._send(steps, "refund", order.refund_id, str(steps.request["deposit"]))

    def _send(self, steps: Steps, kind: str, subject_id: str, deposit: str | None) -> Outcome:
        sender, request = self._sender, steps.request
        if sender is None:
            return NotSent("No wallet to send from is configured.")
        try:
            self._check_chain()
            if deposit is not None:
                self._watcher.sync()  # what is given back must still be there
        except ChainFault as fault:
            return NotSent(f"The chain cannot be asked: {fault.message}"[:400])
        call = TransferCall(str(request["token"]), str(request["to"]), int(str(request["units"])))
        if request["chain"] != self._config.chain or self._config.token_at(call.token) is None:
            return NotSent("The chain or the token is not configured any more.")
        outflow = Outflow("refund" if kind == "refund" else "charge", subject_id, call, deposit)
        return declined_by_books(lambda: sender.send(outflow, steps))

    def resend(self, reference: Reference) -> Outcome:
        """Broadcast stored bytes again, as they are; see `payments.recovery`."""
        if self._sender is None or reference.request.get("op") == "deposit":
            return Unknown("There is nothing to send again.")
        return self._sender.resend(reference)

    def speed_up(self, reference: Reference) -> Outcome:
        """Replace a transfer that waits by the same one with higher fees: a person's decision."""
        if self._sender is None:
            raise ProviderUnsupported("No wallet to send from is configured.")
        return self._sender.speed_up(reference)

    # -- looking -------------------------------------------------------------------------------------------------------

    def lookup(self, reference: Reference) -> Finding:
        if reference.request.get("op") != "deposit":
            return NotFound() if self._sender is None else self._sender.lookup(reference)
        if self._books.read(lambda tx: queries.deposit_by_key(tx, reference.key)) is None:
            return NotFound()
        try:
            self._watcher.sync()
        except ChainFault as fault:
            return NoAnswer(fault.message)
        row = self._books.read(lambda tx: queries.deposit_by_key(tx, reference.key))
        assert row is not None
        return Found(self._stands(row))

    def poll(self, now: datetime) -> Sequence[WebhookEvent]:
        """Read the chain, and tell what happened since, each thing for a day from its first telling."""
        try:
            self._watcher.sync()
            if self._sender is not None:
                self._sender.watch()
        except ChainFault as fault:
            logger.warning("chain %s was not read: %s", self._config.chain, fault.kind)

        def tell(tx: Tx) -> list[WebhookEvent]:
            rows = queries.untold(tx, self._config.chain, now - _TELLING, _NEWS)
            fresh = [row.seq for row in rows if row.first_told_at is None]
            if fresh:
                queries.mark_told(tx, fresh, now)
            return [told(row.id, self.account, row.kind, row.at, json.loads(row.body), self._config) for row in rows]

        return tuple(self._books.write(tell))

    def close(self) -> None:
        self._books.close()


def _method(currency: str) -> str:
    return f"stablecoin:{currency.lower()}"


def from_settings(
    *,
    database_url: str | None = None,
    clock: Clock | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    signer: Signer | None = None,
    endpoints: Sequence[Endpoint] | None = None,
    **options: object,
) -> CryptoProvider:
    """The provider as the `CRYPTO_…` settings describe it; `options` are settings by their names in lower case.

    Raises:
        ConfigurationError: a setting is missing, wrong, or contradicts another one. No secret is shown.
        ModeMismatch: the chain moves real money, and AGENTPAY_LIVE is not set.
    """
    from agentpay.settings import load_settings

    if database_url is None:
        raise ConfigurationError("The books of the chain lie in the engine's database: give crypto its database_url.")
    unknown = options.keys() - CryptoSettings.model_fields.keys()
    if unknown:
        raise ConfigurationError(f"The provider {NAME} has no option {', '.join(sorted(unknown))[:100]}.")
    settings = load_crypto(**options)
    config = chain_config(settings)
    if config.mode == "live" and not load_settings().live:
        raise ModeMismatch(
            f"Chain {config.chain} moves real money, and AGENTPAY_LIVE is not 1.",
            next_step="Set AGENTPAY_LIVE=1, or CRYPTO_TEST_CHAIN=1 where the chain is your own test chain.",
        )
    if signer is None:
        signer = signer_from(settings)
    return CryptoProvider(
        config,
        database_url=database_url,
        endpoints=_endpoints(settings) if endpoints is None else endpoints,
        signer=signer,
        clock=clock,
        monotonic=monotonic,
    )


def _endpoints(settings: CryptoSettings) -> list[Endpoint]:
    if not settings.rpc_urls:
        raise ConfigurationError("CRYPTO_RPC_URLS is not set: name at least one JSON-RPC endpoint.")
    try:
        return [endpoint(url.get_secret_value(), settings.timeout_seconds) for url in settings.rpc_urls]
    except ValueError as exc:
        raise ConfigurationError(f"CRYPTO_RPC_URLS cannot be used: {exc}.") from None
