"""A day for reconciliation is in the acquirer's list: each of its charges, and what was planted among them."""

from datetime import UTC, datetime
from pathlib import Path

import httpx

from bench.listed import OF_EACH, Books, ListedDay
from devstack.acquirer import store
from devstack.acquirer.app import Settings, create_app
from payonce.domain.ids import IdFactory

KEY = "the key"
UNTIL = datetime(2026, 11, 30, tzinfo=UTC)
PAYMENTS = 400


def _written(path: Path) -> tuple[Books, set[str]]:
    """The day as it stands in the acquirer's file, and the references of what both sides have."""
    ids = IdFactory(b"a secret of the tests' own", cell="")
    db = store.opened(path)
    try:
        db.execute("BEGIN IMMEDIATE")
        books = Books(db)
        day = ListedDay(PAYMENTS, UNTIL, [f"mer_{number}" for number in range(7)], ids, books=books)
        lives = list(day.lives())
        books.strangers(["pay_forgotten"], UNTIL)
        known = {
            row[0] for row in db.execute("SELECT reference FROM operations WHERE operation = 'authorize'")
        }
        db.execute("COMMIT")
    finally:
        db.close()
    assert lives
    return books, known


async def _listed(path: Path) -> list[str]:
    app = create_app(Settings(data=path, key=KEY))
    found: list[str] = []
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://acquirer") as client:
        client.headers["Authorization"] = f"Bearer {KEY}"
        query = {"since": "2026-01-01T00:00:00+00:00", "until": "2027-01-01T00:00:00+00:00"}
        after: str | None = "0"
        while after is not None:
            page = (await client.get("/charges", params={**query, "after": after})).raise_for_status().json()
            found += [charge["reference"] for charge in page["charges"]]
            after = page["next"]
    return found


async def test_the_acquirer_lists_what_was_written_for_it(tmp_path: Path) -> None:
    """Ids of another form than the sandbox's own made the bench read 100,000 charges as none."""
    ledger = tmp_path / "acquirer.sqlite"
    books, known = _written(ledger)
    assert books.charges > PAYMENTS // 2
    assert {
        result: books.planted[result] for result in ("charged_there", "double_charge", "missing_there")
    } == {
        "charged_there": OF_EACH,
        "double_charge": OF_EACH,
        "missing_there": OF_EACH,
    }
    assert set(await _listed(ledger)) == known
