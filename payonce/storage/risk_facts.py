"""What is kept for counting: who paid when, as keyed hashes, and whether it was declined.

The rows belong to the vault's role and are reached through its functions only (migrations 0031 and 0032): they hold
hashes of cards, and no name of a payment.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import RowMapping, text

from payonce.domain.risk import RiskSubjects
from payonce.storage.driver.connection import Connection
from payonce.storage.driver.statements import Query, Statement, single

_NOTE = Statement(
    text(
        "SELECT vault.risk_note(CAST(:member AS text), CAST(:merchant_id AS text), CAST(:mode AS text),"
        " CAST(:card AS text), CAST(:customer AS text), CAST(:address AS text))"
    )
)
_COMPLETE = Statement(
    text("SELECT FROM vault.risk_complete(CAST(:member AS text), CAST(:declined AS boolean))")
)
_SAVE = Statement(
    text(
        "SELECT vault.risk_save(CAST(:payment_method_id AS text), CAST(:merchant_id AS text), CAST(:mode AS text),"
        " CAST(:card AS text))"
    )
)
_FORGET = Statement(
    text(
        "SELECT vault.risk_forget(CAST(:payment_method_id AS text), CAST(:merchant_id AS text), CAST(:mode AS text))"
    )
)
_SAVED = Statement(
    text(
        "SELECT brand, last4, issuer_country, vault.risk_saved_card(id, merchant_id, mode) AS card"
        " FROM payment_methods WHERE id = CAST(:payment_method_id AS text) AND state = 'active'"
        " AND merchant_id = CAST(:merchant_id AS text) AND mode = CAST(:mode AS text)"
    )
)
_SINCE = text("SELECT * FROM vault.risk_since(:merchant_id, :mode, :since, :after, :at_most)")
_ERASE = text("SELECT vault.risk_erase(:at_most)")


@dataclass(frozen=True, slots=True)
class RiskFact:
    """One payment, as it counts."""

    merchant_id: str
    mode: str
    subjects: RiskSubjects
    at: datetime
    declined: bool | None  # None: no outcome, or none that says anything of who pays

    @property
    def member(self) -> str:
        return self.subjects.member


async def note(connection: Connection, merchant_id: str, mode: str, subjects: RiskSubjects) -> None:
    """The payment that is being admitted counts from this transaction on."""
    values = {
        "member": subjects.member,
        "merchant_id": merchant_id,
        "mode": mode,
        "card": subjects.card,
        "customer": subjects.customer,
        "address": subjects.address,
    }
    await connection.write(_NOTE, values)


async def complete(connection: Connection, member: str, *, declined: bool) -> None:
    """Its outcome counts from this transaction on, where it is counted at all. The first one stays."""
    await connection.write(_COMPLETE, {"member": member, "declined": declined})


@dataclass(frozen=True, slots=True)
class KnownCard:
    """What is known of a saved card without its number."""

    brand: str
    last4: str
    issuer_country: str | None
    card: str | None = field(repr=False)  # its keyed hash; None: it was saved before there was one


def saved(payment_method_id: str, merchant_id: str, mode: str) -> Query[KnownCard | None]:
    """The merchant's saved card."""
    values = {"payment_method_id": payment_method_id, "merchant_id": merchant_id, "mode": mode}
    return single(_SAVED, values, lambda row: KnownCard(**row))


async def save(
    connection: Connection, payment_method_id: str, merchant_id: str, mode: str, *, card: str
) -> None:
    """Whoever pays with it pays with this card."""
    values = {"payment_method_id": payment_method_id, "merchant_id": merchant_id, "mode": mode}
    await connection.write(_SAVE, {**values, "card": card})


async def forget(connection: Connection, payment_method_id: str, merchant_id: str, mode: str) -> None:
    """Nothing tells which card it was. Safe to repeat."""
    values = {"payment_method_id": payment_method_id, "merchant_id": merchant_id, "mode": mode}
    await connection.write(_FORGET, values)


async def since(
    connection: Connection, merchant_id: str, mode: str, *, since: datetime, after: str, limit: int
) -> Sequence[RiskFact]:
    """The merchant's facts from then on, and after this member of that very moment, oldest first."""
    values = {"merchant_id": merchant_id, "mode": mode, "since": since, "after": after, "at_most": limit}
    return [_fact_from(row) for row in (await connection.execute(_SINCE, values)).mappings()]


async def erase(connection: Connection, *, limit: int) -> int:
    """So many that are older than 30 days are gone."""
    return int((await connection.execute(_ERASE, {"at_most": limit})).scalar_one())


def _fact_from(row: RowMapping) -> RiskFact:
    subjects = RiskSubjects(row["card"], row["customer"], row["address"], row["member"])
    return RiskFact(row["merchant_id"], row["mode"], subjects, row["at"], row["declined"])
