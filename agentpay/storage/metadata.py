"""Every table of AgentPay at once: for migrations, exports and whatever else must leave none out."""

from __future__ import annotations

import importlib
import pkgutil

import sqlalchemy as sa

import agentpay
from agentpay.storage.types import Base, with_conditions


def models() -> sa.MetaData:
    """What the `tables` modules of every domain say."""
    for found in pkgutil.walk_packages(agentpay.__path__, "agentpay."):
        if found.name.endswith(".tables"):
            importlib.import_module(found.name)
    return with_conditions(Base.metadata)
