"""Wherever a send or a refund on a chain dies, it happens once: every spot of its way, by exception, on both databases.

The matrix of `integration.crashes` has the providers that are asked in one request or two; a transfer on a chain takes
several commits, a signature and a broadcast, so it has spots of its own. Deaths by a signal are in `test_engine`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from agentpay.errors import AgentPayError, IdempotencyConflict
from agentpay.manager import AgentHandle, PaymentManager
from agentpay.providers.crypto.sending import LEASE
from agentpay.testing.chain import CHAIN, LocalChain
from integration.crypto.conftest import MakeTill
from support.bench import policy
from support.chain_deaths import SPOTS, Spot, Spots, dying_engine, watched_endpoint
from support.failing import Died, closed
from support.invariants import check_invariants
from support.ledgers import check_counters
from support.till import WALLET, Till, parsed_uri

Way = Literal["send", "refund"]

BOT: dict[str, Any] = {
    "providers": {"allow": ["crypto"]},
    "currencies": {"allow": ["USDT"]},
    "subscribe": None,
    "charge": {
        "directions": ["collect", "send"],
        "limits": [{"id": "day", "amount": "500 USDT", "window": {"rolling": "24h"}}],
    },
}


@dataclass
class Shop:
    """A till, and a manager that nothing happens to."""

    till: Till
    sound: PaymentManager
    way: Way

    def __post_init__(self) -> None:
        self.to = self.till.chain.account(5 if self.way == "send" else 6)
        self.sound.link_customer("ana", "crypto", f"eip155:{CHAIN}:{self.till.chain.account(6)}")
        self.paid = self._paid() if self.way == "refund" else ""

    def _paid(self) -> str:
        """A deposit, of which all refunds are a part."""
        made = AgentHandle(self.sound._engine, "bot").charge(
            "ana", "400.00", "USDT", description="x", idempotency_key="paid"
        )
        self.till.chain.pay(
            self.till.usdt, parsed_uri(made.next_step.removesuffix(" Do not pay again."))[0], "400.00", sender=4
        )
        self.till.chain.mine()
        return self.sound.continue_payment(made.id).id

    def go(self, bot: AgentHandle, key: str, amount: str = "7.00") -> str:
        """Send or refund; the status."""
        try:
            if self.way == "refund":
                return bot.refund(self.paid, amount, reason="x", idempotency_key=key).status
            payee = f"eip155:{CHAIN}:{self.to}"
            return bot.charge("ana", amount, "USDT", payee=payee, description="x", idempotency_key=key).status
        except AgentPayError as error:
            return error.code

    def dies(self, spot: Spot | None) -> list[Spot]:
        """Send or refund in a program that dies at a spot; what it reached."""
        spots = Spots(spot)
        engine = dying_engine(self.till.url, self.till.clock, self.till.chain, spots, self.till.new)
        try:
            ended = self.go(AgentHandle(engine, "bot"), f"{spot}")
        except Died:
            assert spots.reached[-1] == spot
        else:
            assert spot is None or ended == "pending", ended
        finally:
            closed(engine)
        return spots.reached

    @property
    def moved(self) -> tuple[int, int]:
        """What the payee has, and how many transactions the wallet has sent."""
        chain = self.till.chain
        return self.till.usdt.balance(self.to), int(chain.eth.get_transaction_count(chain.account(WALLET)))


@pytest.fixture(params=["send", "refund"])
def shop(request: pytest.FixtureRequest, make_till: MakeTill, chain: LocalChain, database: str) -> Iterator[Shop]:
    """A shop on each kind of database, audited in the end."""
    till = make_till(database, endpoints=[watched_endpoint(chain, Spots())])
    bot = {**BOT, "payees": {"allow": ["self", f"eip155:{CHAIN}:{till.chain.account(5)}"]}}
    with PaymentManager(
        database, provider=till.provider, policy=policy({"bot": bot}), throttle="off", clock=till.clock
    ) as sound:
        yield Shop(till, sound, request.param)
        check_invariants(sound._engine.store)
        sound._engine.store.read(check_counters)


def test_a_transfer_that_dies_anywhere_is_made_once_and_leaves_no_nonce_behind(shop: Shop) -> None:
    bot, chain = AgentHandle(shop.sound._engine, "bot"), shop.till.chain
    for spot in SPOTS:
        before = shop.moved
        assert shop.dies(spot)[-1] == spot
        chain.later(2 * LEASE)
        shop.sound.reconcile()
        stands = shop.go(bot, f"{spot}")
        chain.mine(2)
        shop.sound.reconcile()
        assert (stands, shop.go(bot, f"{spot}")) in (("pending", "succeeded"), ("succeeded", "succeeded")), spot
        assert shop.go(bot, f"{spot}", "6.00") == IdempotencyConflict.code
        after = shop.moved
        assert (after[0] - before[0], after[1] - before[1]) == (7_000_000, 1), f"{spot}: it moved otherwise than once"


def test_an_undisturbed_transfer_passes_every_spot_once(shop: Shop) -> None:
    """So that no spot is left out because its way changed."""
    assert shop.dies(None) == list(SPOTS)
