"""`payonce risk`: who is asked about a merchant's payments before money moves, and what follows."""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from payonce.cli.base import CommandRefused, Json, Why, content_of, deciding, in_transaction, show
from payonce.domain.audit import Act, AuditAction
from payonce.domain.risk_rules import PROVIDER, parse
from payonce.risk.listing import KINDS, checked_value
from payonce.risk.registry import check_names
from payonce.risk.rules import checked, rules_of
from payonce.risk.sandbox import SandboxRisk
from payonce.risk.subjects import SubjectHashes
from payonce.sealing import Sealer
from payonce.settings import settings_from_environment
from payonce.storage import risk_lists, risk_policies
from payonce.storage.driver.connection import Connection
from payonce.storage.merchants import check_merchant
from payonce.storage.risk_lists import ListEntry
from payonce.storage.risk_policies import SERVICE, StoredPolicy
from payonce.webhooks.addresses import check_url
from payonce.webhooks.risk import make_options

CARD_OF = "card-of"
RULES_BYTES_MAX: Final = 256 * 1024
AUDITED_BYTES_MAX: Final = 6_000  # of rules, whole; an entry of the audit log takes 8 KiB

Mode = Annotated[Literal["test", "live"], typer.Option(help="Of which payments.")]
MerchantId = Annotated[str, typer.Argument(metavar="MERCHANT", help="The merchant's id.")]

app = typer.Typer(
    no_args_is_help=True, help="A decision before money moves: allow, challenge, review or block."
)


@app.command("show")
def show_policy(merchant: MerchantId, mode: Mode = "test", as_json: Json = False) -> None:
    """Show who is asked about the merchant's payments, and what follows."""
    policy = in_transaction(lambda connection: risk_policies.find(connection, merchant, mode=mode))
    show(_view(merchant, mode, policy), as_json, _line(policy))


@app.command("set")
def set_policy(  # noqa: PLR0917 - typer takes them by name
    merchant: MerchantId,
    mode: Mode = "test",
    provider: Annotated[
        list[str] | None, typer.Option(help="Who is asked. Repeat it: these replace all that there were.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Nobody is asked any more.")] = False,
    without_answer: Annotated[
        Literal["open", "closed"] | None,
        typer.Option(help="Where nobody answers in time: allowed, or answered 503 and nothing admitted."),
    ] = None,
    without_hold: Annotated[
        Literal["block", "allow"] | None,
        typer.Option(help="What a review becomes where no account can hold the payment, such as UPI."),
    ] = None,
    without_challenge: Annotated[
        Literal["block", "allow"] | None,
        typer.Option(help="What a challenge becomes where no account can ask for one."),
    ] = None,
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Change who is asked, and what follows. In force everywhere after 5 s."""
    check_names(provider or [])
    changes = {
        "without_answer": without_answer,
        "without_hold": without_hold,
        "without_challenge": without_challenge,
    }
    providers = [] if off else provider
    choices = {name: value for name, value in changes.items() if value is not None}

    async def work(connection: Connection) -> StoredPolicy:
        policy = await risk_policies.change(
            connection, merchant, mode=mode, providers=providers, choices=choices
        )
        _check_able(policy, mode)
        return policy

    policy = deciding(work, partial(_act, merchant, mode, choices), why=why)
    show(_view(merchant, mode, policy), as_json, _line(policy))


rules = typer.Typer(no_args_is_help=True, help="The rules of the provider `rules`.")
lists = typer.Typer(
    no_args_is_help=True, help="What the provider `rules` allows, challenges, reviews or blocks."
)
app.add_typer(rules, name="rules")
app.add_typer(lists, name="lists")
ListName = Annotated[Literal["allow", "challenge", "review", "block"], typer.Argument(help="What it says.")]
Kind = Annotated[str, typer.Argument(help="customer, email, address (or a network), country, or card-of.")]
Value = Annotated[str, typer.Argument(help="For card-of: the id of a payment of the last 30 days.")]


@rules.command("show")
def show_rules(merchant: MerchantId, mode: Mode = "test") -> None:
    """Print the merchant's rules as JSON, as `set` takes them; the default ones where it has none."""
    policy = in_transaction(lambda connection: risk_policies.find(connection, merchant, mode=mode))
    written = [rule.written() for rule in rules_of(policy.parsed.options.get(PROVIDER, {}))]
    print(json.dumps(written, indent=2))


@rules.command("set")
def set_rules(
    merchant: MerchantId,
    file: Annotated[Path | None, typer.Argument(help="A JSON list of rules; - for standard input.")] = None,
    mode: Mode = "test",
    default: Annotated[bool, typer.Option("--default", help="The default rules again.")] = False,
    why: Why = None,
) -> None:
    """Replace the merchant's rules, whole or not at all. In force everywhere after 5 s."""
    if default == (file is not None):
        raise CommandRefused("Name a file of rules, or say --default")
    written = None if file is None else [rule.written() for rule in checked(parse(_read(file)))]

    async def work(connection: Connection) -> None:
        options = {PROVIDER: {} if written is None else {"rules": written}}
        await risk_policies.change(connection, merchant, mode=mode, options=options)

    deciding(work, lambda _: _changed(merchant, mode, _audited(written)), why=why)
    print("The default rules hold." if written is None else f"{len(written)} rules hold.")


@lists.command("add")
def add_to_list(  # noqa: PLR0917 - typer takes them by name
    merchant: MerchantId, list_: ListName, kind: Kind, value: Value, mode: Mode = "test", why: Why = None
) -> None:
    """Put a customer, e-mail address, network, country or a payment's card on a list, and off any other."""

    async def work(connection: Connection) -> None:
        await check_merchant(connection, merchant)
        if kind == CARD_OF:
            member = _member(value)
            if not await risk_lists.put_card(connection, merchant, mode, member, list_=list_):
                raise CommandRefused("No card of this payment is known: it is older, or was not counted")
        else:
            entry = ListEntry(_kind(kind), checked_value(kind, value), list_)
            if not await risk_lists.put(connection, merchant, mode, entry):
                raise CommandRefused(
                    f"A merchant's lists have at most {risk_lists.ENTRIES_MAX} entries in a mode"
                )

    deciding(work, lambda _: _changed(merchant, mode, {"list": list_, "kind": kind}), why=why)
    print(f"It is on the list {list_}.")


@lists.command("remove")
def remove_from_list(
    merchant: MerchantId, kind: Kind, value: Value, mode: Mode = "test", why: Why = None
) -> None:
    """Take it off its list."""

    async def work(connection: Connection) -> bool:
        await check_merchant(connection, merchant)
        if kind == CARD_OF:
            gone = await risk_lists.remove_card(connection, merchant, mode, _member(value))
        else:
            of = {"kind": _kind(kind), "value": checked_value(kind, value)}
            gone = await risk_lists.remove(connection, merchant, mode, **of)
        return gone

    gone = deciding(
        work, lambda gone: _changed(merchant, mode, {"list": None, "kind": kind, "was_there": gone}), why=why
    )
    print("It is on no list any more." if gone else "It was on no list.")


@lists.command("show")
def show_lists(
    merchant: MerchantId,
    mode: Mode = "test",
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 1_000,
    as_json: Json = False,
) -> None:
    """List the entries; of cards nothing can be shown."""
    found = in_transaction(lambda connection: risk_lists.entries(connection, merchant, mode, limit=limit))
    for entry in found:
        show(asdict(entry), as_json, f"{entry.list}  {entry.kind}  {entry.value}")


def _read(file: Path) -> list[Mapping[str, Any]]:
    whole = (
        sys.stdin.read(RULES_BYTES_MAX) if str(file) == "-" else content_of(file, bytes_max=RULES_BYTES_MAX)
    )
    try:
        read = json.loads(whole)
    except (ValueError, RecursionError) as error:
        raise CommandRefused(f"{file} is no JSON: {error}") from None
    if not isinstance(read, list) or not all(isinstance(one, dict) for one in read):
        raise CommandRefused(f"{file} is no list of rules")
    return read


def _kind(kind: str) -> str:
    if kind not in KINDS:
        raise CommandRefused(f"A kind is one of {', '.join((*KINDS, CARD_OF))}")
    return kind


def _member(payment_id: str) -> str:
    return SubjectHashes(settings_from_environment().fingerprint_keys()).member(payment_id)


@app.command("service")
def set_service(
    merchant: MerchantId,
    url: Annotated[str, typer.Option(help="Of the merchant's own service, which is asked by POST.")],
    mode: Mode = "test",
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Say where the provider `http` asks, and show the new secret that signs, this once."""
    settings = settings_from_environment()
    check_url(url, mode=mode, allow_loopback=settings.allow_loopback_webhooks)
    sealer = Sealer(settings.webhook_keys())
    service, secret = make_options(sealer, merchant_id=merchant, mode=mode, url=url)

    async def work(connection: Connection) -> None:
        await risk_policies.change(connection, merchant, mode=mode, options={SERVICE: service})

    deciding(work, lambda _: _changed(merchant, mode, {"service": "changed"}), why=why)
    values = {"merchant_id": merchant, "mode": mode, "url": url, "secret": secret}
    show(values, as_json, f"{url}\n{secret}\nStore it now: it is not shown again.")


def _check_able(policy: StoredPolicy, mode: str) -> None:
    """Whoever is asked can answer. Raises `CommandRefused`."""
    asked = policy.parsed.providers
    if SERVICE in asked and SERVICE not in policy.parsed.options:
        raise CommandRefused(f"Say first where {SERVICE} asks in {mode} mode: `payonce risk service`")
    if SandboxRisk.name in asked and mode == "live":
        raise CommandRefused(
            f"{SandboxRisk.name} says what a payment's metadata tell it to, in test mode only"
        )


def _audited(written: list[Mapping[str, Any]] | None) -> Mapping[str, Any]:
    """The rules; of more than an entry takes, how many there are and the hash of their JSON."""
    if written is None:
        return {"rules": "default"}
    whole = json.dumps(written, ensure_ascii=False).encode()
    if len(whole) <= AUDITED_BYTES_MAX:
        return {"rules": written}
    return {"rules": len(written), "sha256": hashlib.sha256(whole).hexdigest()}


def _act(merchant: str, mode: str, choices: Mapping[str, str], policy: StoredPolicy) -> Act:
    return _changed(merchant, mode, {"providers": list(policy.parsed.providers), **choices})


def _changed(merchant: str, mode: str, details: Mapping[str, Any]) -> Act:
    return Act(
        action=AuditAction.RISK_CHANGED, subject=merchant, merchant_id=merchant, mode=mode, details=details
    )


def _view(merchant: str, mode: str, policy: StoredPolicy) -> dict[str, Any]:
    return {
        "merchant_id": merchant,
        "mode": mode,
        "providers": list(policy.parsed.providers),
        "without_answer": policy.parsed.choices.without_answer,
        "without_hold": policy.parsed.choices.without_hold,
        "without_challenge": policy.parsed.choices.without_challenge,
    }


def _line(policy: StoredPolicy) -> str:
    asked, choices = policy.parsed.providers, policy.parsed.choices
    if not asked:
        return "Nobody is asked."
    return (
        f"Asked: {', '.join(asked)}. Without an answer: {choices.without_answer}. A review that cannot be held:"
        f" {choices.without_hold}. A challenge that cannot be asked for: {choices.without_challenge}."
    )
