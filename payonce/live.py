"""What live mode asks of the settings: nothing secret crosses a network in the clear, and nothing rests on a guess.

Each rule looks at settings that may be set in any mode; only the refusal to start belongs to live mode. That commits
survive is `payonce.storage.durability.check_durability`'s.
"""

import math
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final
from urllib.parse import parse_qs, urlsplit

from payonce.domain.errors import PaymentError
from payonce.settings import KNOWN_TO_EVERYBODY, Settings

SANDBOX = "sandbox_"  # what the names of the connectors to the sandbox acquirer begin with
# As the characters are spread. Of 200,000 keys of 32 random hexadecimal digits none had less than 87; words repeated
# to that length have about 30.
KEY_BITS_MIN: Final = 64
KEY_LOOKED_AT_MAX: Final = 1_024

Rule = Callable[[Settings], Iterator[str]]


class LiveRefused(PaymentError):
    """Live mode does not start with these settings."""

    code = "live_refused"


def check_live(settings: Settings) -> None:
    """Returns where live mode is off, or may start. Raises `LiveRefused`, which names each variable that is wrong."""
    if settings.live and (found := refusals(settings)):
        raise LiveRefused(f"live mode refuses {'; '.join(found)} (docs/operations.md)")


def refusals(settings: Settings) -> list[str]:
    """What live mode would refuse, whether it is on or not: the variable's name, and what is wrong with it."""
    return [found for rule in _RULES for found in rule(settings)]


def _derivation_key(settings: Settings) -> Iterator[str]:
    if _bits(settings.derivation_key.get_secret_value()) < KEY_BITS_MIN:
        yield (
            "PAYONCE_DERIVATION_KEY: it repeats itself, or has too few different characters to be random"
            " (`openssl rand -hex 32` makes one)"
        )


def _sealing_keys(settings: Settings) -> Iterator[str]:
    for number, key in enumerate(settings.webhook_sealing_keys):
        if _bits(b64decode(key.key.get_secret_value()).decode("latin-1")) < KEY_BITS_MIN:
            yield (
                f"PAYONCE_WEBHOOK_SEALING_KEYS: the key {number} repeats itself, or has too few different bytes to be"
                " random (`openssl rand -base64 32` makes one)"
            )


def _database(settings: Settings) -> Iterator[str]:
    """Source: libpq's `sslmode`; less than `verify-full` takes any server that has a certificate.

    A Unix socket is one only where nothing says another host: libpq takes lists of them, and prefers `hostaddr`.
    """
    yield from _verified("PAYONCE_DATABASE_URL", settings.database_url)
    if settings.api_database_url is not None:
        yield from _verified("PAYONCE_API_DATABASE_URL", settings.api_database_url)


def _verified(variable: str, database_url: str) -> Iterator[str]:
    url = urlsplit(database_url)
    members = parse_qs(url.query)
    elsewhere = url.netloc.rpartition("@")[2] or members.keys() & {"hostaddr", "service"}
    if not elsewhere and _are_paths(members.get("host", ())):
        return
    if set(members.get("sslmode", ())) != {"verify-full"}:
        yield f"{variable}: it has no sslmode=verify-full, and no Unix socket"


def _redis(settings: Settings) -> Iterator[str]:
    url = urlsplit(settings.redis_url)
    members = parse_qs(url.query)
    if url.scheme == "unix":
        return
    if url.scheme != "rediss":
        yield "PAYONCE_REDIS_URL: it is no rediss:// (TLS), and no Unix socket"
    elif set(members.get("ssl_cert_reqs", ())) - {"required"} or "ssl_check_hostname" in members:
        yield "PAYONCE_REDIS_URL: its ssl_ members switch off that the server's certificate is verified"


def _temporal(settings: Settings) -> Iterator[str]:
    if not settings.temporal_has_tls:
        yield "PAYONCE_TEMPORAL_TLS: it is off"


def _accounts(settings: Settings) -> Iterator[str]:
    for account in settings.connector_accounts:
        where = f"PAYONCE_CONNECTOR_ACCOUNTS: the account {account.id!r}"
        if account.connector.startswith(SANDBOX):
            yield f"{where} is the sandbox's"
        if not _is_https(account.base_url):
            yield f"{where} has a base_url that is no https://"
        if not _is_https(account.options.get("callback_url") or None):  # an empty one means none
            yield f"{where} has a callback_url that is no https://"
        if not account.key.get_secret_value():
            yield f"{where} has no key"
        if account.key.get_secret_value() == KNOWN_TO_EVERYBODY:
            yield f"{where} has a key that was a default once and is known to everybody"


def _sandbox(settings: Settings) -> Iterator[str]:
    if settings.sandbox_acquirer_url is not None:
        yield "PAYONCE_SANDBOX_ACQUIRER_URL: the sandbox is for test mode; leave it out"


def _addresses(settings: Settings) -> Iterator[str]:
    """Customers' codes and acquirers' callbacks go there, by default to where the API listens: plain HTTP."""
    if settings.public_url is None:
        yield "PAYONCE_PUBLIC_URL: it is not set"
    elif not _is_https(settings.public_url):
        yield "PAYONCE_PUBLIC_URL: it is no https://"
    if not _is_https(settings.callbacks_url):
        yield "PAYONCE_CALLBACKS_URL: it is no https://"


def _debuggers(settings: Settings) -> Iterator[str]:
    if settings.allow_debuggers:
        yield "PAYONCE_ALLOW_DEBUGGERS: card numbers and keys could be read in the memory of a process"


def _webhooks(settings: Settings) -> Iterator[str]:
    if settings.allow_loopback_webhooks:
        yield "PAYONCE_ALLOW_LOOPBACK_WEBHOOKS: merchants would reach what listens on this machine"


def _vault(settings: Settings) -> Iterator[str]:
    if settings.vault_key_file is not None:
        yield "PAYONCE_VAULT_KEY_FILE: keys in a file are for development; PAYONCE_VAULT_TRANSIT_URL names a server"
    if not _is_https(settings.vault_transit_url):
        yield "PAYONCE_VAULT_TRANSIT_URL: it is no https://"


def _receipts(settings: Settings) -> Iterator[str]:
    """What speaks to S3 looks at `AWS_ENDPOINT_URL` (`payonce.receipts.store`)."""
    if settings.receipts_url is not None and not settings.receipts_url.startswith("s3://"):
        yield "PAYONCE_RECEIPTS_URL: a folder is for development; s3://… names a store"
    if settings.receipts_url is not None and settings.receipts_encryption == "none":
        yield "PAYONCE_RECEIPTS_ENCRYPTION: it is none; receipts name customers, and rest encrypted (AES256, aws:kms)"
    if settings.receipts_requirements is not None:
        yield "PAYONCE_RECEIPTS_REQUIREMENTS: nothing is installed at run time; the image has what draws receipts"
    if not _is_https(settings.receipts_endpoint):
        yield "PAYONCE_RECEIPTS_ENDPOINT: it is no https://"


_RULES: Final[tuple[Rule, ...]] = (
    _derivation_key,
    _sealing_keys,
    _database,
    _redis,
    _temporal,
    _accounts,
    _sandbox,
    _addresses,
    _webhooks,
    _vault,
    _receipts,
    _debuggers,
)


def _is_https(url: str | None) -> bool:
    """Also where there is none."""
    return url is None or urlsplit(url).scheme == "https"


def _are_paths(hosts: Sequence[str]) -> bool:
    return bool(hosts) and all(host.startswith("/") for each in hosts for host in each.split(","))


def _bits(key: str) -> float:
    """How much chance the characters can hold at most, as they and the steps between them are spread.

    What a shorter piece repeated makes has as much as the piece. It knows no words: a bound, no measure.
    """
    piece = _piece(key[:KEY_LOOKED_AT_MAX])
    codes = [ord(character) for character in piece]
    steps = [after - before for before, after in pairwise(codes)]
    return min(_spread(codes), _spread(steps))


def _piece(text: str) -> str:
    """The shortest one of which repetitions, the last one perhaps cut, make the text."""
    return text[: next(length for length in range(1, len(text) + 1) if text.startswith(text[length:]))]


def _spread(values: Sequence[int]) -> float:
    """Shannon's entropy of the values as they are spread, times their number."""
    return sum(count * math.log2(len(values) / count) for count in Counter(values).values())
