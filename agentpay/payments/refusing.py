"""What is refused: the error for a decision against, and what is kept of a call that was refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from agentpay.audit import log
from agentpay.customers import service as customers
from agentpay.errors import AgentPayError, PolicyDenied, Throttled
from agentpay.payments.asks import Refused
from agentpay.principal import Principal
from agentpay.spending import requests
from agentpay.spending.models import Denied
from agentpay.spending.throttle import Throttle
from agentpay.storage.transaction import Tx


class Denial(PolicyDenied):
    """A denial on its way to be written down. It knows the decision, so it never leaves the engine: see `plain`."""

    def __init__(self, denied: Denied, payment_id: str | None, owner_id: str | None) -> None:
        first = denied.violations[0]
        more = f" (and {len(denied.violations) - 1} more)" if len(denied.violations) > 1 else ""
        super().__init__(
            f"{first.message}{more}",
            violations=denied.violations,
            payment_id=payment_id,
            next_step=first.next_step,
            retry_at=first.retry_at,
        )
        self.denied = denied
        self.owner_id = owner_id

    def plain(self) -> PolicyDenied:
        """The same for the agent, with nothing but what the agent may know."""
        return PolicyDenied(
            self.message,
            violations=self.violations,
            payment_id=self.payment_id,
            next_step=self.next_step,
            retry_at=self.retry_at,
        )


def denial(denied: Denied, payment_id: str | None = None, *, owner_id: str | None = None) -> Denial:
    """The error for a decision against, with every reason. `Refusals.record` writes it down, as another decision about
    `owner_id`, the payment or refund that there is already."""
    return Denial(denied, payment_id, owner_id or payment_id)


@dataclass(frozen=True)
class Refusals:
    """Writes refusals down: the throttle's count and the audit row, after everything else was undone."""

    throttle: Throttle

    def record(self, tx: Tx, principal: Principal, operation: str, error: AgentPayError) -> Refused:
        """Keep that something was refused. An agent beyond its bound is turned away instead, and only counted."""
        now = tx.now()
        if principal.kind == "agent":
            throttled = error if isinstance(error, Throttled) else self.throttle.check(tx, principal.id, now)
            if throttled is not None:
                self.throttle.count_turned_away(tx, principal.id, now)
                return Refused(throttled)
            self.throttle.count_refusal(tx, principal.id, now)
        codes = [violation.code for violation in error.violations] if isinstance(error, PolicyDenied) else []
        data = {"code": error.code, "violations": codes}
        action = f"{operation}.call_refused"  # not "refund.refused", which is what becomes of a refund
        log.record(tx, principal=principal, action=action, object_id=str(principal), data=data, at=now)
        if not isinstance(error, Denial):
            return Refused(error)
        self._keep(tx, error.denied, error.owner_id, now)
        return Refused(error.plain())

    def _keep(self, tx: Tx, denied: Denied, owner_id: str | None, now: datetime) -> None:
        """Keep what was asked for, where it is an operation that the policy has a section for."""
        if denied.request.operation is None:
            return
        named = denied.request.customer
        customer = None if named is None else customers.known(tx, named)  # one that came with it is gone with it
        request = replace(denied.request, customer_ref=customer.id if customer else None)
        requests.keep(tx, request, denied.decision, denied.policy_hash, now, owner_id=owner_id)
