"""Authorizations whose time is over."""

from datetime import UTC, datetime, timedelta

from payonce.connectors.base import Capabilities
from payonce.domain.schedules import UNKNOWN_ACCOUNT_INQUIRIES
from payonce.standing import Cases
from tests.storage.ledger import IDS, Ledger

OVER = datetime.now(UTC) - timedelta(seconds=1)


def cases(shared_ledger: Ledger, *, expiry_is_sent: bool = False) -> Cases:
    capabilities = Capabilities(
        methods=frozenset({"card"}),
        call_deadline_s=10,
        finality_s=10,
        inquiry=UNKNOWN_ACCOUNT_INQUIRIES,
        reversal_by_reference=True,
        expiry_is_sent=expiry_is_sent,
    )
    return Cases(shared_ledger.database, IDS, {"account_1": capabilities})
