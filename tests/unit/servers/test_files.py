"""Files that people give to the commands: plans and policies."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from agentpay.errors import ConfigurationError, PolicyError, ValidationError
from agentpay.plans.models import Feature
from agentpay_policies.files import ready_file
from agentpay_servers.installing import starter_policy
from agentpay_servers.plan_files import SAMPLE, parse_plans, read_plans
from agentpay_servers.policy_files import read_policy_file
from agentpay_servers.session import exit_code


def test_the_sample_plans_are_plans() -> None:
    free, pro, payg = parse_plans(SAMPLE)
    assert (free.id, free.requests_per_period) == ("free", 20)
    assert (pro.price, pro.features[0]) == (Decimal("10.00"), Feature("api_calls", limit=1000))
    assert payg.price_per_request == Decimal("0.002")


def test_one_plan_may_stand_alone_and_be_json() -> None:
    (plan,) = parse_plans(
        '{"id": "a", "name": "A", "payment_type": "freemium", "description": null, "features": ["f"]}'
    )
    assert (plan.id, plan.description) == ("a", None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "line 0: the file is empty"),
        ("- a", "line 1: this is a mapping"),
        ("plans: x", "holds a list"),
        ("plans: []\nmore: 1", "nothing beside it"),
        ("plans:\n- {id: a, name: A, payment_type: freemium, price: 0.50}", "line 2: put '0.50' in quotes"),
        ("plans:\n- {id: a, name: NO, payment_type: freemium}", "line 2: put 'NO' in quotes"),
        ("plans:\n- {id: a, name: A, payment_type: freemium, prize: 1}", "line 2: there is no field 'prize'"),
        ("plans:\n- {id: a, id: b, name: A, payment_type: freemium}", "line 2: 'id' is there twice"),
        ("plans:\n- {id: a, name: A}", "payment_type"),
        ("plans:\n- {id: a, name: A, payment_type: rent}", "payment_type is one of"),
        ("plans:\n- {id: a, name: A, payment_type: freemium, features: f}", "features is a list"),
        ("plans:\n- {id: a, name: A, payment_type: freemium, features: [{limit: 1}]}", "name"),
        ("plans:\n- {id: a, name: A, payment_type: freemium, features: [{name: f, limit: -1}]}", "line 2: "),
        ("plans:\n- {id: [a], name: A, payment_type: freemium}", "this is one value"),
        ('{"id": "a", "name": "A", "payment_type": "freemium", "price": true}', "in quotes"),
        ("a: &b 1", "anchors"),
    ],
)
def test_what_is_no_plan_is_refused_with_its_line(text: str, fault: str) -> None:
    with pytest.raises(ValidationError) as caught:
        parse_plans(text)
    assert fault in caught.value.message
    assert "line " in caught.value.message
    assert exit_code(caught.value) == 2


def test_a_plan_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigurationError, match=str(path)):
            read_plans(str(path))
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="UnicodeDecodeError"):
        read_plans(str(tmp_path / "latin"))


def test_a_policy_file_or_a_ready_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(ready_file("starter"))
    assert read_policy_file(str(path)) == read_policy_file("starter")


def test_a_policy_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no policy file"):
        read_policy_file(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_policy_file(str(tmp_path))
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff")
    with pytest.raises(PolicyError, match="UTF-8") as caught:
        read_policy_file(str(path))
    assert exit_code(caught.value) == 1
    path.write_text("# " + "x" * 3_000_000)
    with pytest.raises(PolicyError, match="larger"):
        read_policy_file(str(path))


def test_the_starter_policy_names_the_approver() -> None:
    assert '["olga"]' in starter_policy("olga")
    with pytest.raises(ValidationError, match="No approver"):
        starter_policy("\x00")
