"""The example of a provider passes the contract that every provider passes, and stays small."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentpay.providers.base import Order, PaymentProvider, Request
from agentpay.testing import ProviderContract
from agentpay_policies.money import Money

PLUGIN = Path(__file__).resolve().parents[3] / "examples" / "plugin.py"


def _module() -> Any:
    spec = importlib.util.spec_from_file_location("example_plugin", PLUGIN)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


plugin = _module()


class TestVouchers(ProviderContract):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> PaymentProvider:
        made: PaymentProvider = plugin.Vouchers(tmp_path / "vouchers.db")
        return made

    def declined_order(self) -> Order | None:
        return replace(self.order(), money=Money("100.01", "USD"))

    def effects(self, provider: PaymentProvider) -> int | None:
        return len([one for one in self._moves(provider) if one[1] > 0])

    def requests(self, provider: PaymentProvider) -> Sequence[tuple[str, Request]] | None:
        return [(key, plugin.json.loads(request)) for key, _, request in self._moves(provider)]

    def _moves(self, provider: Any) -> list[Any]:
        with plugin.closing(provider._open()) as db:
            return list(db.execute("SELECT key, cents, request FROM moves ORDER BY rowid"))


def test_it_is_about_a_hundred_lines() -> None:
    assert len(PLUGIN.read_text("utf-8").splitlines()) <= 130
