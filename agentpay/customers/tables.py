"""Customers: the application's own id stands here once; every other table holds ours."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from agentpay.storage.types import Base, UtcTime


class CustomerRow(Base, table=True):
    """A customer, from the first time that it was named."""

    __tablename__ = "customers"

    id: str = Field(primary_key=True)
    external_id: str = Field(unique=True)
    created_at: datetime = Field(sa_type=UtcTime)


class CustomerLinkRow(Base, table=True):
    """What a provider calls a customer: set by `link_customer`, never by a tool."""

    __tablename__ = "customer_links"

    customer_id: str = Field(primary_key=True, foreign_key="customers.id")
    provider: str = Field(primary_key=True)
    reference: str
    linked_at: datetime = Field(sa_type=UtcTime)


class CustomerSetupRow(Base, table=True):
    """A page of a provider's on which a customer is to save a payment method. `url` is none until there is a page."""

    __tablename__ = "customer_setups"

    id: str = Field(primary_key=True)
    customer_id: str = Field(foreign_key="customers.id")
    provider: str
    method: str | None = None
    success_url: str
    cancel_url: str
    reference: str | None = None
    url: str | None = None
    created_at: datetime = Field(sa_type=UtcTime)
