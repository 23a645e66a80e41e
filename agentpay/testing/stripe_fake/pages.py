"""The fake's checkout pages: for paying and for saving a method. Their customers act when they are told to."""

from __future__ import annotations

import copy
from typing import Literal

from agentpay.testing.stripe_fake import shapes
from agentpay.testing.stripe_fake.books import Books
from agentpay.testing.stripe_fake.refusals import invalid, missing
from agentpay.testing.stripe_fake.shapes import Json

Way = Literal["card", "slow", "turn_back"]


class Pages:
    """Checkout sessions."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.pages: dict[str, Json] = {}
        self._asked: dict[str, Json] = {}

    def create(self, params: Json) -> Json:
        """A page, open for a day."""
        mode = params.get("mode")
        if mode not in ("payment", "setup"):
            raise invalid("The fake has pages for payment and setup.", param="mode")
        for name in ("success_url", "cancel_url"):
            if not str(params.get(name, "")).startswith(("https://", "http://")):
                raise invalid("Not a valid URL", param=name, code="url_invalid")
        if params.get("customer") is not None:
            self._books.customer(params["customer"])
        units, currency = self._sum(params) if mode == "payment" else (None, params.get("currency"))
        made = shapes.page(
            self._books.new_id("cs_test_"),
            self._books.now(),
            mode=mode,
            amount_subtotal=units,
            amount_total=units,
            currency=currency,
            customer=params.get("customer"),
            customer_creation=params.get("customer_creation"),
            client_reference_id=params.get("client_reference_id"),
            metadata=dict(params.get("metadata", {})),
            success_url=params["success_url"],
            cancel_url=params["cancel_url"],
            payment_method_types=params.get("allowed_payment_method_types") or ["card", "link"],
            payment_status="unpaid" if mode == "payment" else "no_payment_required",
        )
        self.pages[made["id"]] = made
        self._asked[made["id"]] = params
        return made

    def _sum(self, params: Json) -> tuple[int, str]:
        items = params.get("line_items") or []
        if len(items) != 1:
            raise invalid("The fake sells one thing at a time.", param="line_items")
        price = items[0]["price_data"]
        if not price["product_data"]["name"]:
            raise invalid("A product needs a name.", param="line_items[0][price_data][product_data][name]")
        units, currency = self._books.check_amount(
            price["unit_amount"], price["currency"], "line_items[0][price_data][unit_amount]"
        )
        return units * int(items[0]["quantity"]), currency

    def page(self, page_id: str) -> Json:
        """A page that is there."""
        if page_id not in self.pages:
            raise missing(f"checkout.session: '{page_id}'", "session", status=404)
        return self.pages[page_id]

    def shown(self, page: Json, expand: bool) -> Json:
        """A page as it is answered."""
        shown = copy.deepcopy(page)
        if expand and shown["payment_intent"] is not None:
            shown["payment_intent"] = copy.deepcopy(self._books.intents[shown["payment_intent"]])
        return shown

    def act(self, page_id: str, way: Way = "card", key: str | None = None) -> None:
        """The customer pays by card or by a slow method, saves a method, or the page runs out of time."""
        page, params = self.page(page_id), self._asked[page_id]
        assert page["status"] == "open", f"the page is {page['status']}"
        if way == "turn_back":
            page.update(status="expired", url=None)
            self._books.tell("checkout.session.expired", page)
            return
        self._known_customer(page)
        page.update(status="complete", url=None)
        if page["mode"] == "setup":
            self._save(page, params)
        else:
            self._pay(page, params, way, key)
        self._books.tell("checkout.session.completed", page)

    def _known_customer(self, page: Json) -> None:
        if page["customer"] is None and page["customer_creation"] == "always":
            page["customer"] = self._books.add_customer()

    def _pay(self, page: Json, params: Json, way: Way, key: str | None) -> None:
        data = params.get("payment_intent_data", {})
        intent = self._books.create_intent(
            {
                **data,
                "amount": str(page["amount_total"]),
                "currency": page["currency"],
                **({} if page["customer"] is None else {"customer": page["customer"]}),
            }
        )
        page["payment_intent"] = intent["id"]
        if data.get("setup_future_usage") and page["customer"] is not None:
            intent["payment_method"] = self._books.add_method(page["customer"])
        if way == "slow":
            intent["status"] = "processing"
            return
        page["payment_status"] = "paid"
        self._books.succeed(intent, key or page["metadata"].get("agentpay_key"))

    def _save(self, page: Json, params: Json) -> None:
        data = params.get("setup_intent_data", {})
        made = shapes.setup_intent(
            self._books.new_id("seti_"),
            self._books.now(),
            customer=page["customer"],
            metadata=dict(data.get("metadata", {})),
            payment_method=self._books.add_method(page["customer"]),
        )
        page["setup_intent"] = made["id"]
        self._books.tell("setup_intent.succeeded", made)

    def end(self, page_id: str, *, paid: bool) -> None:
        """A slow method that was used on a page comes to its end."""
        page = self.page(page_id)
        self._books.end_intent(page["payment_intent"], paid=paid)
        if paid:
            page["payment_status"] = "paid"
        self._books.tell(f"checkout.session.async_payment_{'succeeded' if paid else 'failed'}", page)
