"""Creating plans, which makes versions, and reading them."""

from __future__ import annotations

from agentpay.audit.log import record
from agentpay.errors import PlanUnknown
from agentpay.plans import queries
from agentpay.plans.models import PaymentPlan
from agentpay.principal import OPERATOR, Principal
from agentpay.storage import Store, Tx
from agentpay_policies.text import identifier


def plan_of(tx: Tx, plan_id: str, version: int | None = None) -> PaymentPlan:
    """A version of a plan, the current one where none is given.

    Raises:
        PlanUnknown: there is no such plan, or not that version of it.
        ValidationError: the id is not text of 1 to 200 visible characters.
    """
    found = queries.one(tx, identifier(plan_id, "plan"), version)
    if found is None:
        what = "" if version is None else f" in version {version}"
        raise PlanUnknown(f"There is no plan {plan_id[:60]!r}{what}.")
    return found


def create(tx: Tx, plan: PaymentPlan, principal: Principal) -> PaymentPlan:
    """Store the plan as a new version of its id, unless the current version says the same."""
    current = queries.lock_current(tx, plan.id, tx.now())
    if current and queries.hash_of(tx, plan.id, current) == queries.content_hash(plan):
        return plan_of(tx, plan.id, current)
    now = tx.now()
    queries.add_version(tx, plan, current + 1, now)
    data = {"version": current + 1, "hash": queries.content_hash(plan)}
    record(tx, principal=principal, action="plan.created", object_id=f"plan:{plan.id}", data=data, at=now)
    return plan_of(tx, plan.id, current + 1)


class PlanService:
    """The plans of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, plan: PaymentPlan, *, principal: Principal = OPERATOR) -> PaymentPlan:
        """Store a plan and return it with its version.

        The same content again is the version that stands. Another content is a new version: new subscribers get it,
        and who subscribed before keeps the old one.
        """
        return self._store.write(lambda tx: create(tx, plan, principal))

    def list(self) -> tuple[PaymentPlan, ...]:
        """The current version of every plan, by id."""
        return tuple(self._store.read(queries.all_current))

    def get(self, plan_id: str, version: int | None = None) -> PaymentPlan:
        """A version of a plan, the current one where none is given.

        Raises:
            PlanUnknown: there is no such plan, or not that version of it.
        ValidationError: the id is not text of 1 to 200 visible characters.
        """
        return self._store.read(lambda tx: plan_of(tx, plan_id, version))
