"""Granting credits: prepaid value that usage draws on before anything is billed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa

from agentpay.audit import log
from agentpay.billing.tables import CreditGrantRow
from agentpay.customers import service as customers
from agentpay.errors import AgentPayError, IdempotencyConflict, MoneyError
from agentpay.ids import Ids
from agentpay.ledger import postings
from agentpay.ledger import service as ledger
from agentpay.principal import Principal
from agentpay.storage import keys
from agentpay.storage.store import Store
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table
from agentpay_policies.money import Money
from agentpay_policies.text import identifier

_GRANTS = table(CreditGrantRow)


@dataclass(frozen=True)
class CreditGrant:
    """Credits that were given. `balance` is what the ledger holds for the customer in that currency now."""

    id: str
    customer: str
    amount: Decimal
    currency: str
    balance: Decimal
    granted_at: datetime
    replayed: bool = False


@dataclass(frozen=True)
class Credits:
    """Gives credits."""

    store: Store
    ids: Ids

    def grant(self, customer: str, money: Money, *, key: str, principal: Principal) -> CreditGrant:
        """Give a customer credits, once per key; no money moves.

        Raises:
            MoneyError: nothing is granted.
            IdempotencyConflict: the key names another grant.
        """
        identifier(customer, "customer")
        keys.checked_key(key)
        if money.minor == 0:
            raise MoneyError("A grant is more than nothing.")
        hashed = keys.body_hash("grant_credits", {"customer": customer, "money": str(money)})

        def write(tx: Tx) -> CreditGrant | AgentPayError:
            now, grant_id = tx.now(), self.ids.new("crg")
            if not keys.claim(tx, principal, "grant_credits", key, hashed, grant_id, now):
                try:
                    known = keys.find(tx, principal, "grant_credits", key, hashed)
                except IdempotencyConflict as error:
                    return error
                return replace(self._shown(tx, str(known)), replayed=True)
            return self._given(tx, grant_id, customer, money, principal, now)

        done = self.store.write(write)
        if isinstance(done, AgentPayError):
            raise done
        return done

    def _given(
        self, tx: Tx, grant_id: str, customer: str, money: Money, principal: Principal, now: datetime
    ) -> CreditGrant:
        found = customers.ensure(tx, customer, ids=self.ids, now=now)
        tx.insert(
            CreditGrantRow,
            id=grant_id,
            customer_id=found.id,
            currency=money.currency,
            amount_minor=money.minor,
            granted_by=str(principal),
            created_at=now,
        )
        entries = postings.credits_granted(found.id, money.minor, money.currency)
        ledger.post(tx, event="credits.granted", object_id=grant_id, entries=entries, at=now, ids=self.ids)
        data = {"customer": found.id, "amount": str(money.minor), "currency": money.currency}
        log.record(tx, principal=principal, action="credits.granted", object_id=grant_id, data=data, at=now)
        return self._shown(tx, grant_id)

    def _shown(self, tx: Tx, grant_id: str) -> CreditGrant:
        row = tx.all(sa.select(_GRANTS).where(_GRANTS.c.id == grant_id))[0]
        balance = ledger.credit_available(tx, row.customer_id, row.currency)
        return CreditGrant(
            id=row.id,
            customer=customers.by_id(tx, row.customer_id).external_id,
            amount=Money.from_minor(row.amount_minor, row.currency).amount,
            currency=row.currency,
            balance=Money.from_minor(balance, row.currency).amount,
            granted_at=row.created_at,
        )
