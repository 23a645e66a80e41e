"""No secret of Stripe's in logs, reprs, errors or the database, whatever goes wrong."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import sqlalchemy as sa

from agentpay.errors import AgentPayError
from agentpay.testing.stripe_fake import StripeFake
from support.bench_fixtures import MakeBench
from support.stripe import URLS, MakeProvider

KEY, SECRET = "sk_test_GREPme0123456789", "whsec_GREPme0123456789"
FAULTS: list[Any] = ["401", "403", "500_after", "html_after", "drop_after", "redirect", "cut_after", "429"]


def test_a_secret_is_nowhere(
    make_bench: MakeBench, fake: StripeFake, make_provider: MakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.accept(KEY)
    provider = make_provider(api_key=KEY, webhook_secret=SECRET, **URLS)
    bench = make_bench(providers=(provider,))
    seen: list[str] = [repr(provider), repr(provider.capabilities()), repr(provider.health()), repr(bench.engine)]
    for number, fault in enumerate([None, *FAULTS]):
        customer = f"ana-{number}"
        bench.manager.link_customer(customer, "stripe", fake.customer())
        for op in ("create", "confirm"):
            if fault is not None:
                fake.fail(fault, op=op)
        for call in (
            lambda customer=customer: bench.manager.charge(
                customer, "5.00", "USD", idempotency_key=customer, provider="stripe"
            ),
            lambda: provider.parse_webhook(b"{}", {"stripe-signature": f"t=1,v1={SECRET}"}, bench.clock.now()),  # type: ignore[union-attr]
            lambda: bench.manager.link_customer("ben", "stripe", KEY),
        ):
            try:
                seen.append(repr(call()))
            except AgentPayError as error:
                seen.append(f"{error!r} {error} {vars(error)!r} {error.__cause__!r} {error.__context__!r}")
        fake.heal()
    seen.extend(record.getMessage() for record in caplog.records)
    seen.extend(str(record.exc_info) for record in caplog.records)
    assert [text[:300] for text in seen if "GREPme" in text] == []
    assert _in_database(bench) == []


def _in_database(bench: Any) -> list[str]:
    """The tables with a secret in any column."""
    found = []
    with bench.engine.store.backend.engine.connect() as conn:
        for table in sa.inspect(conn).get_table_names():
            rows = conn.execute(sa.text(f'SELECT * FROM "{table}"')).all()
            found += [table for row in rows if "GREPme" in repr(tuple(row))]
    return found
