"""Opening an engine: arguments over settings, storage prepared, providers made, the policy adopted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agentpay.clock import Clock
from agentpay.errors import ConfigurationError
from agentpay.ids import Ids
from agentpay.manager.telling import Callback
from agentpay.manager.wiring import Engine, wire
from agentpay.principal import OPERATOR
from agentpay.providers.base import PaymentProvider
from agentpay.providers.registry import Providers, create_payment_provider
from agentpay.spending import policies
from agentpay.spending.throttle import Throttle
from agentpay.storage.choices import Storage, storage_url
from agentpay.storage.schema import prepare
from agentpay.storage.store import Store
from agentpay_policies.policy import Policy

if TYPE_CHECKING:
    from agentpay.settings import Settings

PolicySource = str | Path | Mapping[str, object] | Policy
ProviderSource = str | PaymentProvider | Sequence[str | PaymentProvider]


def open_engine(
    storage: str | Storage | None,
    *,
    provider: ProviderSource | None,
    policy: PolicySource | Literal[False] | None,
    default_plan: str | None,
    throttle: str | None,
    clock: Clock | None,
    ids: Ids | None,
    upgrade: bool | None = None,
) -> Engine:
    """The engine of a database, with whatever was not given taken from the settings. `policy=False`: none is given,
    whatever the settings say."""
    from agentpay.settings import load_settings

    settings = load_settings()
    source = settings.policy if policy is None else policy
    parsed = None if source is None or source is False else read_policy(source)
    hook = None if settings.approval_hook is None else _hook(settings.approval_hook)
    store = Store(storage_url(storage) if storage is not None else settings.database_url, clock=clock, ids=ids)
    try:
        prepare(store, upgrade=upgrade)
        engine = wire(
            store,
            _providers(provider, settings, store),
            ids=ids,
            throttle=Throttle.parse(throttle if throttle is not None else settings.throttle),
            default_plan=default_plan,
        )
        if hook is not None:
            engine.telling.on_approval(hook)
        if parsed is not None and not store.read(lambda tx: policies.is_active(tx, parsed)):
            store.write(lambda tx: policies.adopt(tx, parsed, OPERATOR))
    except BaseException:
        store.close()
        raise
    return engine


def read_policy(source: PolicySource) -> Policy:
    """A policy from a file, the name of a ready one, a mapping, or itself.

    Raises:
        ConfigurationError: there is no such file; the message has its full path.
        PolicyError: the file is no policy, with every fault.
    """
    from agentpay_policies.files import ready_file
    from agentpay_policies.loader import load_mapping, load_policy

    match source:
        case Policy():
            return source
        case Mapping():
            return load_mapping(source)
    if isinstance(source, str) and not _is_path(source):
        return load_policy(ready_file(source))
    path = Path(source).expanduser().absolute()
    try:
        return load_policy(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"There is no policy file {path}.", next_step="Make one with: agentpay init") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"The policy file {path} cannot be read: {type(exc).__name__}.") from None


def _hook(line: str) -> Callback:
    from agentpay.manager.hook import CommandHook

    return CommandHook(line)


def _is_path(source: str) -> bool:
    return "/" in source or "\\" in source or source.endswith((".yaml", ".yml")) or Path(source).is_file()


def _providers(given: ProviderSource | None, settings: Settings, store: Store) -> Providers:
    wanted: Sequence[str | PaymentProvider]
    if given is None:
        wanted = settings.providers
    elif isinstance(given, Sequence) and not isinstance(given, str):
        wanted = given
    else:
        wanted = [given]
    url = store.database_url
    return Providers([
        create_payment_provider(one, database_url=url) if isinstance(one, str) else one for one in wanted
    ])  # fmt: skip
