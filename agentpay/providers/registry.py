"""Which providers there are: the installed ones by name, and the enabled ones of one engine."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, cast

import sqlalchemy as sa

from agentpay.errors import ConfigurationError, ModeMismatch, ProviderUnknown
from agentpay.providers.base import Capabilities, Health, Mode, PaymentProvider
from agentpay.providers.tables import ProviderAccountRow
from agentpay.storage.transaction import Tx
from agentpay.storage.types import table

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP: Final = "agentpay.providers"
"""The entry-point group in which plug-ins register."""

Factory = Callable[..., PaymentProvider]
_ACCOUNTS: Final = table(ProviderAccountRow)


def installed_providers() -> list[str]:
    """The names of every provider that is installed, sorted. The mock always is."""
    return sorted({"mock", *_entries()})


def create_payment_provider(name: str, *, database_url: str | None = None, **options: object) -> PaymentProvider:
    """Make a provider by its name: `create_payment_provider("stripe", api_key=…)`.

    An entry of the group names a factory. It is called with its own options by keyword, and with `database_url`, the
    URL of the engine's database, where it takes one: the mock does, and keeps its books beside that database. What it
    is not given it reads from its own settings. A factory opens no connection.

    Raises:
        ProviderUnknown: no such provider is installed; the message names those that are.
        ConfigurationError: an option is missing or unknown, or the provider's own libraries are not installed.
    """
    factory = _factory(name)
    signature = inspect.signature(factory)
    if "database_url" in signature.parameters:
        options = {"database_url": database_url, **options}
    try:
        signature.bind(**options)
    except TypeError as exc:
        raise ConfigurationError(f"The provider {name} cannot be made so: {exc}.") from None
    return factory(**options)


def _entries() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _factory(name: str) -> Factory:
    if name == "mock":  # always there, with or without the metadata of an installation, and nobody else's
        from agentpay.providers.mock import from_settings

        return from_settings
    entry = _entries().get(name)
    if entry is None:
        known = ", ".join(installed_providers())
        raise ProviderUnknown(f"No provider {name[:60]!r} is installed; there is {known}.")
    try:
        return cast(Factory, entry.load())
    except ImportError as exc:
        missing = exc.name or "a library"
        raise ConfigurationError(
            f"The provider {name} needs {missing}, which is not installed.",
            next_step=f"Install the extra or the package that brings {missing}.",
        ) from exc


class Providers:
    """The enabled providers of one engine, in order; the first is the default."""

    def __init__(self, providers: Sequence[PaymentProvider]) -> None:
        """Put them together.

        Raises:
            ConfigurationError: none, or two of one name.
            ModeMismatch: some are for tests and some are live.
        """
        if not providers:
            raise ConfigurationError("No provider is enabled: name at least one in AGENTPAY_PROVIDERS.")
        self._by_name: dict[str, PaymentProvider] = {}
        for provider in providers:
            if provider.name in self._by_name:
                raise ConfigurationError(f"The provider {provider.name} is given twice.")
            self._by_name[provider.name] = provider
        self.mode: Mode = providers[0].mode
        if any(provider.mode != self.mode for provider in providers):
            modes = ", ".join(f"{provider.name} is {provider.mode}" for provider in providers)
            raise ModeMismatch(f"Test and live providers do not go together: {modes}.")

    @property
    def default(self) -> PaymentProvider:
        """The provider of a payment that names none."""
        return next(iter(self))

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(self._by_name)

    def __iter__(self) -> Iterator[PaymentProvider]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def get(self, name: str | None = None) -> PaymentProvider:
        """The provider of that name, or the default one.

        Raises:
            ProviderUnknown: it is not enabled; the message names those that are.
        """
        if name is None:
            return self.default
        if name not in self._by_name:
            raise ProviderUnknown(f"The provider {name[:60]!r} is not enabled; there is {', '.join(self.names)}.")
        return self._by_name[name]

    def capabilities(self) -> dict[str, Capabilities]:
        """What each can do."""
        return {provider.name: provider.capabilities() for provider in self}

    def health(self) -> dict[str, Health]:
        """Whether each answers. A provider that raises instead is the caller's to catch, at its provider seam."""
        return {provider.name: provider.health() for provider in self}

    def stamped(self, tx: Tx) -> bool:
        """Whether the database knows every one of these accounts already, so that `stamp` would write nothing.

        Raises:
            ModeMismatch: it knows another account or mode of one of them.
        """
        known = [_is_known(tx, provider) for provider in self]  # each is checked, even where an earlier one is new
        return all(known)

    def stamp(self, tx: Tx, now: datetime) -> None:
        """Enter each account into the database, or check it against what is entered. Inside a write.

        Raises:
            ModeMismatch: the database belongs to another account, or to the other mode, of a provider.
        """
        for provider in self:
            if not _is_known(tx, provider):
                tx.insert_new(
                    ProviderAccountRow,
                    provider=provider.name,
                    account=provider.account,
                    mode=provider.mode,
                    first_seen_at=now,
                )
                _is_known(tx, provider)  # another transaction may have been faster

    def close(self) -> None:
        """Let go of the connections of all."""
        for provider in self:
            provider.close()


def _is_known(tx: Tx, provider: PaymentProvider) -> bool:
    row = tx.first(sa.select(_ACCOUNTS).where(_ACCOUNTS.c.provider == provider.name))
    if row is None:
        return False
    if (row.account, row.mode) != (provider.account, provider.mode):
        raise ModeMismatch(
            f"The database belongs to {provider.name} account {row.account} ({row.mode}); "
            f"this program was started for {provider.account} ({provider.mode})."
        )
    return True
