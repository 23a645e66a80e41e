"""Settings: from the environment, `.env` and `agentpay.toml`, in that order of precedence; arguments win over all.

| variable | means | default |
|---|---|---|
| AGENTPAY_DATABASE_URL | the database | `sqlite:///agentpay.db` |
| AGENTPAY_POLICY | a policy file, or the name of a ready one | none |
| AGENTPAY_AGENT | which agent a server speaks for | none |
| AGENTPAY_PROVIDERS | the enabled providers, separated by commas; the first is the default | `mock` |
| AGENTPAY_LIVE | whether real money may move | `0` |
| AGENTPAY_THROTTLE | new keys and refusals an agent may have a minute, or `off` | `600/120` |
| AGENTPAY_APPROVAL_HOOK | a command line that is run, without a shell, when something newly waits for people | none |
| AGENTPAY_APPROVER_SECRET | an approver's secret, for a person's own commands only | none |

`.env` and `agentpay.toml` are read from the working directory. The TOML file has the same names, or those of the table
in lower case without `AGENTPAY_`: `database_url = "sqlite:///agentpay.db"`. A provider's own names (`STRIPE_API_KEY`)
may stand in all three; its settings class derives from `SourcedSettings` and is read by `load`.

Import this module where settings are read, not at the top of others: `import agentpay` stays light.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from agentpay.errors import ConfigurationError

DOTENV_FILE: Final = ".env"
TOML_FILE: Final = "agentpay.toml"
PREFIX: Final = "AGENTPAY_"

_PROVIDER: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}\Z")
_THROTTLE: Final = re.compile(r"(off|[1-9][0-9]{0,8}/[1-9][0-9]{0,8})\Z")
S = TypeVar("S", bound="SourcedSettings")


class SourcedSettings(BaseSettings):
    """Settings from the environment, then `.env`, then `agentpay.toml`. Providers derive their own from it."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_file=DOTENV_FILE, env_ignore_empty=True, hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class passes it by this name
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = InitSettingsSource(settings_cls, _toml_values(settings_cls))
        return init_settings, env_settings, dotenv_settings, toml


class Settings(SourcedSettings):
    """The settings of the engine and its programs. Frozen; secrets are not in its `repr`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX)

    database_url: str = Field(default="sqlite:///agentpay.db", repr=False)
    policy: str | None = None
    agent: str | None = None
    providers: Annotated[tuple[str, ...], NoDecode] = ("mock",)
    live: bool = False
    throttle: str = "600/120"
    approval_hook: str | None = None
    approver_secret: SecretStr | None = None

    @field_validator("providers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ValueError("it is a list of names separated by commas")
        cleaned = tuple(name.strip() for name in names)
        if not all(_PROVIDER.match(name) for name in cleaned):
            raise ValueError("it is a list of names separated by commas, each of lower-case letters, digits, - and _")
        if not cleaned or len(set(cleaned)) < len(cleaned):
            raise ValueError("it names each provider once, and at least one")
        return cleaned

    @field_validator("throttle", mode="before")
    @classmethod
    def _throttle(cls, value: object) -> object:
        cleaned = value.replace(" ", "").lower() if isinstance(value, str) else ""
        if not _THROTTLE.match(cleaned):
            raise ValueError('it is "new keys/refusals" a minute, such as 600/120, or off')
        return cleaned


def load_settings(**overrides: object) -> Settings:
    """The settings in force. An override that is None counts as not given.

    Raises:
        ConfigurationError: a value or a file is wrong. One line names the variable, and never shows the value.
        TypeError: there is no such setting.
    """
    unknown = overrides.keys() - Settings.model_fields.keys()
    if unknown:
        raise TypeError(f"there is no setting {', '.join(sorted(unknown))}")
    return load(Settings, **overrides)


def load(kind: type[S], **overrides: Any) -> S:
    """Settings of a class of their own, such as a provider's, from the same sources.

    Raises:
        ConfigurationError: as `load_settings`.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        _check_dotenv(kind)
        return kind(**given)
    except ValidationError as exc:
        raise ConfigurationError(_first_fault(kind, exc)) from None
    except UnicodeDecodeError:
        raise ConfigurationError("The file .env is no UTF-8 text.") from None
    except OSError as exc:
        raise ConfigurationError(f"The file .env cannot be read: {exc.strerror}.") from None


def _check_dotenv(kind: type[SourcedSettings]) -> None:
    """Refuse a line of `.env` that names one of ours and cannot be read: it would be left out, and a default used."""
    path = Path(DOTENV_FILE)
    if not path.is_file():
        return
    from dotenv.parser import parse_stream

    names = [_variable(kind, name) for name in kind.model_fields]
    with path.open(encoding="utf-8") as file:
        for binding in parse_stream(file):
            if binding.error and (name := _named(binding.original.string, names)):
                line = binding.original.line
                raise ConfigurationError(f"Line {line} of {DOTENV_FILE} cannot be read: {name}: is a quote missing?")


def _named(line: str, names: list[str]) -> str | None:
    return next((name for name in names if name in line.upper()), None)


def _first_fault(kind: type[SourcedSettings], exc: ValidationError) -> str:
    """One line that names the variable. The value is left out: it may be a secret, or a URL with one in it."""
    fault = exc.errors(include_url=False, include_input=False, include_context=False)[0]
    field = str(fault["loc"][0]) if fault["loc"] else "?"
    name = _variable(kind, field)
    reason = fault["msg"].removeprefix("Value error, ").split("\n")[0].rstrip(".")
    return f"{name} cannot be used: {reason[:1].lower()}{reason[1:]}."


def _variable(kind: type[BaseSettings], field: str) -> str:
    return f"{kind.model_config.get('env_prefix', '')}{field}".upper()


def _toml_values(kind: type[BaseSettings]) -> dict[str, Any]:
    """What `agentpay.toml` says for a settings class.

    Raises:
        ConfigurationError: the file cannot be read, or has a name of ours that is none.
    """
    values = _toml_file()
    fields = {_variable(kind, name): name for name in kind.model_fields}
    _check_names(values, {_variable(Settings, name) for name in Settings.model_fields})
    upper = {_full_name(name): value for name, value in values.items()}
    return {fields[name]: value for name, value in upper.items() if name in fields}


def _toml_file() -> dict[str, Any]:
    try:
        return tomllib.loads(Path(TOML_FILE).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise ConfigurationError(f"{TOML_FILE} cannot be read: {exc.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{TOML_FILE} is no UTF-8 text.") from None
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationError(f"{TOML_FILE} is no TOML: {exc}.") from None


def _full_name(name: str) -> str:
    return name if name.isupper() else f"{PREFIX}{name}".upper()


def _check_names(values: dict[str, Any], ours: set[str]) -> None:
    """Refuse a misspelt name of ours; what does not begin with our prefix is a provider's business."""
    for name in values:
        full = _full_name(name)
        if full.startswith(PREFIX) and full not in ours:
            raise ConfigurationError(f"{TOML_FILE} has {name[:60]!a}, which is no setting.")
        if isinstance(values[name], dict):
            raise ConfigurationError(f"{TOML_FILE} has a table {name[:60]!a}; settings are plain values.")
