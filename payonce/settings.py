"""What a process is told about its surroundings: `PAYONCE_*` variables, read once and passed on."""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from json import JSONDecodeError
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FilePath,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from payonce.domain.claiming import Durability
from payonce.domain.errors import PaymentError
from payonce.domain.routing import KEY, ConnectorAccount
from payonce.sealing import KEY_BYTES, SealingKey

DERIVATION_KEY_MIN_LENGTH = 32
DERIVED_KEY_ID = "derived"
KNOWN_TO_EVERYBODY = "sandbox-acquirer-key"  # the default of releases before
PORT_MAX = 65_535
PREFIX = "PAYONCE_"
# Of the same environment, for other programs: commands, `make dev`, and docker-compose's database.
NOT_SETTINGS = frozenset(
    {
        *("PAYONCE_API_URL", "PAYONCE_API_KEY", "PAYONCE_WEBHOOK_SECRET"),
        *("PAYONCE_API_PROCESSES", "PAYONCE_TEMPORAL_PORT", "PAYONCE_TEMPORAL_UI_PORT"),
        *("PAYONCE_POSTGRES_PORT", "PAYONCE_REDIS_PORT", "PAYONCE_ACQUIRER_PORT"),
        *("PAYONCE_POSTGRES_PASSWORD", "PAYONCE_API_POSTGRES_PASSWORD", "PAYONCE_ENGINE_POSTGRES_PASSWORD"),
        "PAYONCE_WORKER_POSTGRES_PASSWORD",
    }
)
_DATABASE_SCHEMES = ("postgresql+psycopg://", "postgresql://")  # the second means the first
_WEB_SCHEMES = ("https://", "http://")
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


class SettingsWrong(PaymentError):
    """A PAYONCE_* variable is missing, unknown or wrong."""

    code = "settings_wrong"


def _begins(value: str, schemes: tuple[str, ...]) -> str:
    if not value.startswith(schemes):
        raise ValueError(f"must begin with {' or '.join(schemes)}")
    return value


def _is_web_address(value: str) -> str:
    """Codes, links and callbacks are made with it: a wrong one is seen by customers, and by nobody here."""
    _check_port(value)
    if not urlsplit(value).hostname:
        raise ValueError("must have a host")
    if not (value.isascii() and value.isprintable()) or set(value) & set(" ?#"):  # `urlsplit` drops line ends
        raise ValueError("must end with its path, and have no blanks and no line end")
    return _begins(value, _WEB_SCHEMES)


def _check_port(url: str) -> None:
    """Raises `ValueError`, in words that show nothing of the URL."""
    try:
        port = urlsplit(url).port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("must be a URL with a port of 1 to 65535, if any")


def _calls_back(options: dict[str, str]) -> dict[str, str]:
    """Of the options the one that every connector knows; an empty one means none, and it may have a query."""
    if told := options.get("callback_url"):
        try:
            _is_web_address(told.partition("?")[0])
        except ValueError as error:
            raise ValueError(f"callback_url {error}") from None
    return options


WebAddress = Annotated[str, AfterValidator(_is_web_address)]
PerSecond = Annotated[float, Field(ge=0.001, le=1_000_000, allow_inf_nan=False)]
Burst = Annotated[int, Field(ge=1, le=10_000_000)]


class AccountSettings(BaseModel):
    """A merchant agreement with an acquirer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    connector: str
    mode: Literal["test", "live"]
    base_url: WebAddress
    key: SecretStr
    secrets: dict[str, SecretStr] = Field(default_factory=dict)
    """What the account has besides its key, by the names that its connector gives them."""
    options: Annotated[dict[str, str], AfterValidator(_calls_back)] = Field(default_factory=dict)

    def secrets_by_name(self) -> dict[str, tuple[str, ...]]:
        """The one generation of each that a setting has."""
        named = {KEY: self.key, **self.secrets}
        return {name: (secret.get_secret_value(),) for name, secret in named.items()}


def _is_key(value: SecretStr) -> SecretStr:
    try:
        key = base64.b64decode(value.get_secret_value(), validate=True)
    except binascii.Error:
        raise ValueError("must be base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"must be the base64 of {KEY_BYTES} bytes")
    return value


class SealingKeySettings(BaseModel):
    """A key that seals secrets at rest, and the id under which they name it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,32}$")
    key: Annotated[SecretStr, AfterValidator(_is_key)]


def _keys_of(settings: Iterable[SealingKeySettings]) -> Iterator[SealingKey]:
    return (SealingKey(each.id, base64.b64decode(each.key.get_secret_value())) for each in settings)


def _told(secret: SecretStr | None) -> bool:
    return secret is not None and bool(secret.get_secret_value())


def _goes_into_a_header(secret: SecretStr) -> SecretStr:
    """As a file's last line end does not: every call would break off at it, and leave its outcome unknown."""
    value = secret.get_secret_value()
    if not (value.isascii() and value.isprintable() and value == value.strip()):
        raise ValueError("must be of visible ASCII characters, without a line end or a blank around them")
    return secret


def _differ(keys: tuple[SealingKeySettings, ...]) -> tuple[SealingKeySettings, ...]:
    if len({key.id for key in keys} | {DERIVED_KEY_ID}) < len(keys) + 1:
        raise ValueError(f"must have an id each, and none may be called {DERIVED_KEY_ID}")
    return keys


def _is_database(value: str) -> str:
    return _begins(value, _DATABASE_SCHEMES)


def _is_redis(value: str) -> str:
    _check_port(value)
    return _begins(value, _REDIS_SCHEMES)


def _is_host_and_port(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= PORT_MAX:
        raise ValueError("must be a host, a colon and a port")
    return value


LogLevel = Literal["debug", "info", "warning", "error", "critical"]


class Settings(BaseSettings):
    """Raises `ValidationError` at start-up for what is missing or wrong; nothing is defaulted silently later."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, hide_input_in_errors=True)

    database_url: Annotated[str, AfterValidator(_is_database)] = Field(repr=False)
    """As the engine, which sees every row, or as the owner of the tables."""
    api_database_url: Annotated[str, AfterValidator(_is_database)] | None = Field(default=None, repr=False)
    """The same database as the role that sees one merchant at a time: API processes need it, and only they use it."""
    redis_url: Annotated[str, AfterValidator(_is_redis)] = Field(repr=False)
    temporal_address: Annotated[str, AfterValidator(_is_host_and_port)]
    temporal_namespace: str = Field(default="default", min_length=1)
    temporal_tls: bool = False
    """Whether Temporal is spoken to by TLS; each of the following asks for it too."""
    temporal_tls_ca: FilePath | None = None
    """PEM: who may have signed Temporal's certificate, instead of the system's authorities."""
    temporal_tls_cert: FilePath | None = None
    """PEM: our own certificate, with its key, where Temporal asks for one (mTLS)."""
    temporal_tls_key: FilePath | None = None
    temporal_tls_server_name: str | None = Field(default=None, min_length=1)
    """The name in Temporal's certificate, where it is not that of the address."""
    temporal_api_key: Annotated[SecretStr, AfterValidator(_goes_into_a_header)] | None = Field(
        default=None, min_length=1
    )
    derivation_key: SecretStr = Field(min_length=DERIVATION_KEY_MIN_LENGTH)
    """Ids, fingerprints and key hashes derive from it: it never changes in the life of a deployment."""
    cell: str = Field(default="a", pattern=r"^[a-z0-9]{1,4}$")
    live: bool = False
    """Whether live keys are served; start-up then insists on `durability`, and on what `payonce.live` asks for."""
    durability: Durability | None = None
    """On whose word a commit survives the loss of the primary: `standby`, a synchronous one, watched at run time (no
    money moves while it is missing, whatever the mode), or `storage`, the operator's: the volume is replicated."""

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8080, ge=0, le=PORT_MAX)
    public_url: WebAddress | None = None
    """The API as customers and acquirers reach it; where it listens, when it is not set."""
    callbacks_url: WebAddress | None = None
    """The same as acquirers reach it, where that is another address."""
    connections_max: int = Field(default=2_000, ge=10, le=100_000)
    connections_per_address_max: int = Field(default=1_000, ge=1, le=100_000)
    """Of clients, open in one API process; the default for one address is more than a process works on at once, so
    a proxy in front finds room for all of it."""
    in_flight_max: int = Field(default=100, ge=1, le=1000)
    """POSTs under way in one API process; also its workflow task slots, local activity slots and cache."""
    own_time_target_ms: int = Field(default=200, ge=10, le=5_000)
    """Of our own time for a payment: while more than a tenth take longer, fewer are let in at once."""
    merchant_writes_per_s: PerSecond = 500
    merchant_writes_burst: Burst = 1_000
    """In one mode, over all API processes; replays count."""
    merchant_reads_per_s: PerSecond = 1_000
    merchant_reads_burst: Burst = 2_000
    callbacks_per_s: PerSecond = 100
    callbacks_burst: Burst = 500
    """Of one connector's acquirer, signed and new or not, over all API processes."""
    rate_share: float = Field(default=1.0, gt=0, le=1)
    """What one API process grants of these rates while Redis does not answer: 1 by the number of processes."""
    database_pool_size: int = Field(default=20, ge=2, le=200)
    pack_bodies: bool = False
    """Events and answers are stored packed. Every process of this release reads them; one of an earlier release sends
    them as they lie there, so only once the last such process is gone."""

    sandbox_acquirer_url: WebAddress | None = None
    sandbox_acquirer_key: Annotated[SecretStr, AfterValidator(_goes_into_a_header)] | None = None
    """Pays, and signs callbacks: whoever knows it may do both at that acquirer. Needed where its URL is set."""
    connector_accounts: tuple[AccountSettings, ...] = ()

    webhook_sealing_keys: Annotated[tuple[SealingKeySettings, ...], AfterValidator(_differ)] = ()
    """Seal the secrets of webhook endpoints and connector accounts: the first seals, all of them open. JSON, such as
    `[{"id": "2027-01", "key": "<base64 of 32 bytes>"}]`. The key derived from `derivation_key` comes last, and is the
    one in use where nothing is set. A key may go when no row of `webhook_secrets` or `connector_secrets` names it."""

    vault_key_file: FilePath | None = None
    """The vault's key-encryption keys in a file, which only its owner may read: for development."""
    vault_transit_url: WebAddress | None = None
    """OpenBao or HashiCorp Vault, whose transit engine holds the vault's key-encryption key."""
    vault_transit_key: str = Field(default="payonce", pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    vault_transit_mount: str = Field(default="transit", pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    vault_transit_token_file: FilePath | None = None
    """Read again for each call, so that an agent may renew it."""
    vault_transit_ca: FilePath | None = None
    """PEM: who may have signed its certificate, instead of the system's authorities."""
    vault_fingerprint_keys: Annotated[tuple[SealingKeySettings, ...], AfterValidator(_differ)] = ()
    """By which saved numbers are known again: the first is in use, all of them find what they hashed. The key
    derived from `derivation_key` comes last."""
    vault_saves_per_hour: int = Field(default=1_000, ge=1, le=10_000_000)
    """Different card numbers that a merchant may save within an hour, in one mode."""

    receipts_url: str | None = None
    """`file:///…` or `s3://bucket/prefix`; S3's address, region and credentials are read from `AWS_*`."""
    receipts_endpoint: WebAddress | None = None
    """S3 as merchants reach it, where that is another address than ours."""
    receipts_encryption: Literal["AES256", "aws:kms", "none"] = "AES256"
    """What S3 is asked to encrypt what is put there with."""
    receipts_kms_key: str | None = Field(default=None, min_length=1, max_length=2_048)
    """The key's name at the KMS; S3's own for the account where none is set."""
    receipts_requirements: FilePath | None = None
    """From where what draws receipts is installed when the first one is asked for; the development stack only."""
    receipts_presses: int = Field(default=1, ge=1, le=64)
    """Receipts that one renderer draws at once: one for each core that it may use."""
    allow_debuggers: bool = False
    """Processes that hold card data let others of their user read their memory; the development stack only."""
    allow_loopback_webhooks: bool = False
    """Plain-HTTP loopback webhook and return URLs; the development stack only."""
    metrics_host: str = "0.0.0.0"  # noqa: S104 -- as Prometheus reaches it; the port is served only where one is set
    metrics_port: int | None = Field(default=None, ge=1, le=PORT_MAX)
    """Where this one process serves its metrics."""
    log_level: Annotated[LogLevel, BeforeValidator(str.lower)] = "info"

    @model_validator(mode="after")
    def _accounts_have_keys(self) -> Self:
        if self.sandbox_acquirer_url is not None and not _told(self.sandbox_acquirer_key):
            raise ValueError(
                "PAYONCE_SANDBOX_ACQUIRER_KEY: it is not set, and PAYONCE_SANDBOX_ACQUIRER_URL is"
            )
        return self

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.temporal_tls_cert is None) != (self.temporal_tls_key is None):
            raise ValueError("PAYONCE_TEMPORAL_TLS_CERT and PAYONCE_TEMPORAL_TLS_KEY go together")
        return self

    @model_validator(mode="after")
    def _key_is_of_the_kms(self) -> Self:
        if self.receipts_kms_key is not None and self.receipts_encryption != "aws:kms":
            raise ValueError("PAYONCE_RECEIPTS_KMS_KEY needs PAYONCE_RECEIPTS_ENCRYPTION=aws:kms")
        return self

    @model_validator(mode="after")
    def _vault_has_one_kind_of_keys(self) -> Self:
        if self.vault_key_file is not None and self.vault_transit_url is not None:
            raise ValueError("PAYONCE_VAULT_KEY_FILE and PAYONCE_VAULT_TRANSIT_URL: only one may be set")
        if (self.vault_transit_url is None) != (self.vault_transit_token_file is None):
            raise ValueError("PAYONCE_VAULT_TRANSIT_URL and PAYONCE_VAULT_TRANSIT_TOKEN_FILE go together")
        return self

    @property
    def temporal_has_tls(self) -> bool:
        """Whether Temporal is spoken to by TLS."""
        asking = (
            self.temporal_tls_ca,
            self.temporal_tls_cert,
            self.temporal_tls_server_name,
            self.temporal_api_key,
        )
        return self.temporal_tls or any(one is not None for one in asking)

    def secret_for(self, purpose: str) -> bytes:
        """A 256-bit key for one purpose (HKDF-Expand with one block, RFC 5869 §2.3)."""
        key = self.derivation_key.get_secret_value().encode()
        return hmac.new(key, purpose.encode() + b"\x01", hashlib.sha256).digest()

    def webhook_keys(self) -> tuple[SealingKey, ...]:
        """What seals the secrets of webhook endpoints and connector accounts, and what may have sealed them."""
        return (
            *_keys_of(self.webhook_sealing_keys),
            SealingKey(DERIVED_KEY_ID, self.secret_for("webhook_secrets")),
        )

    def fingerprint_keys(self) -> tuple[SealingKey, ...]:
        """By which saved card numbers are known again, the one in use first."""
        return (
            *_keys_of(self.vault_fingerprint_keys),
            SealingKey(DERIVED_KEY_ID, self.secret_for("vault_fingerprints")),
        )

    def accounts(self) -> tuple[ConnectorAccount, ...]:
        """The connector accounts in order of preference, the sandbox last."""
        configured = tuple(
            ConnectorAccount(
                id=account.id,
                connector=account.connector,
                mode=account.mode,
                base_url=account.base_url,
                secrets=account.secrets_by_name(),
                options=account.options,
            )
            for account in self.connector_accounts
        )
        return tuple(map(self.placed, configured + self._sandbox_accounts()))

    def _sandbox_accounts(self) -> tuple[ConnectorAccount, ...]:
        if self.sandbox_acquirer_url is None or self.sandbox_acquirer_key is None:
            return ()
        options: dict[str, dict[str, str]] = {
            "sandbox_card": {},
            "sandbox_upi": {"collect": "on"},
            "sandbox_wallet": {},
        }
        return tuple(
            ConnectorAccount(
                id=name,
                connector=name,
                mode="test",
                base_url=self.sandbox_acquirer_url,
                key=self.sandbox_acquirer_key.get_secret_value(),
                options=of_account,
            )
            for name, of_account in options.items()
        )

    def placed(self, account: ConnectorAccount) -> ConnectorAccount:
        """The account, which knows where customers and its acquirer reach this deployment."""
        options = {**self._callback_option(account), **account.options}
        return replace(
            account,
            options=options,
            public_url=self.reached_at,
            upstream_secret=self.secret_for("upstream_keys"),
        )

    def _callback_option(self, account: ConnectorAccount) -> dict[str, str]:
        if self.callbacks_url is None:
            return {}
        return {"callback_url": f"{self.callbacks_url.rstrip('/')}{account.callback_path}"}

    @property
    def reached_at(self) -> str:
        """Where customers and acquirers reach the API; without a slash at its end."""
        return (self.public_url or f"http://{self.api_host}:{self.api_port}").rstrip("/")


def settings_from_environment() -> Settings:
    """What the `PAYONCE_*` variables say.

    Raises `SettingsWrong`, whose one line names each variable that is missing, unknown or wrong, and tells no value.
    """
    wrong = list(_unknown(os.environ))
    try:
        settings = Settings(**{})
    except SettingsError as error:
        raise SettingsWrong("; ".join([*wrong, _not_json(error)])) from None
    except ValidationError as error:
        wrong += (_in_words(one) for one in error.errors(include_input=False, include_url=False))
    if wrong:
        raise SettingsWrong("; ".join(wrong))
    return settings


@contextmanager
def blaming(variable: str) -> Iterator[None]:
    """What the operating system refuses in the block is due to the variable: `SettingsWrong` says so."""
    try:
        yield
    except OSError as error:
        raise SettingsWrong(f"{variable}: {error.strerror or error}") from error


def _unknown(names: Iterable[str]) -> Iterator[str]:
    """One that is misspelt would leave its default in force, and nobody would know."""
    known = {f"{PREFIX}{field}".upper() for field in Settings.model_fields}
    for name in sorted({name.upper() for name in names}):
        if name.startswith(PREFIX) and name not in known | NOT_SETTINGS:
            alike = get_close_matches(
                name.removeprefix(PREFIX), [other.removeprefix(PREFIX) for other in known], n=1
            )
            meant = f" (is {PREFIX}{alike[0]} meant?)" if alike else ""
            yield f"{name}: there is no such setting{meant}"


def _not_json(error: SettingsError) -> str:
    """Source: pydantic-settings says the field in quotes, and what is wrong in the cause."""
    field = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "")
    cause = error.__cause__
    why = (
        f": {cause.msg}, line {cause.lineno}, column {cause.colno}"
        if isinstance(cause, JSONDecodeError)
        else ""
    )
    return f"{PREFIX}{field.upper()}: it is no JSON{why}"


def _in_words(error: ErrorDetails) -> str:
    """Of one variable, or of one member of what is JSON in it; of several, as the validator says it."""
    said = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return said
    name, *members = error["loc"]
    inside = "".join(f"[{member}]" if isinstance(member, int) else f".{member}" for member in members)
    variable = f"{PREFIX}{name}".upper() + inside
    return (
        f"{variable}: it is not set" if error["type"] == "missing" and not members else f"{variable}: {said}"
    )
