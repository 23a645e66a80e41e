"""What the rest of the engine sees of a customer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Customer:
    """A customer: `id` is ours and stands in every table, `external_id` is the application's and stands in one."""

    id: str
    external_id: str
    created_at: datetime
