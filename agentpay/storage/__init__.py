"""Storage: SQLite out of the box, PostgreSQL when one machine is not enough."""

from agentpay.storage.choices import DatabaseStorage, FileStorage, MemoryStorage, Storage, storage_url
from agentpay.storage.store import Store
from agentpay.storage.transaction import Tx

__all__ = ["DatabaseStorage", "FileStorage", "MemoryStorage", "Storage", "Store", "Tx", "storage_url"]
