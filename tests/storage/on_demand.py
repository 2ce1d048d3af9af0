"""Errors of a real Postgres on demand: a function in the database acts at the places that a test arms."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from tests.storage.ledger import Ledger

Place = Literal[
    "key", "key held", "payment", "read", "claim commits", "facts", "facts commit", "sweep", "relay"
]
Action = Literal["raise", "warn", "sleep", "hold", "terminate"]

ALWAYS = 1_000_000
HOLDS_S_MAX = 60

# How often it acted is counted by a sequence, which no rollback takes back; a transaction that only reads has none.
_ACT = f"""
CREATE FUNCTION payonce_act(at text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    armed record;
BEGIN
    SELECT * INTO armed FROM payonce_armed WHERE place = at;
    IF NOT FOUND THEN
        RETURN true;
    END IF;
    IF current_setting('transaction_read_only') = 'off' AND nextval('payonce_acted') > armed.times THEN
        RETURN true;
    END IF;
    CASE armed.action
        WHEN 'raise' THEN RAISE EXCEPTION 'on demand' USING ERRCODE = armed.argument;
        WHEN 'warn' THEN RAISE WARNING 'on demand';
        WHEN 'sleep' THEN PERFORM pg_sleep(armed.argument::float);
        WHEN 'hold' THEN
            FOR _ IN 1..{HOLDS_S_MAX * 50} LOOP
                EXIT WHEN NOT EXISTS (SELECT FROM payonce_armed WHERE place = at);
                PERFORM pg_sleep(0.02);
            END LOOP;
        WHEN 'terminate' THEN PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(5);
    END CASE;
    RETURN true;
END $$
"""
_ACT_HERE = """
CREATE FUNCTION payonce_act_here() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM payonce_act(TG_ARGV[0]);
    RETURN NULL;
END $$
"""
_AT_STATEMENTS: Sequence[tuple[Place, str]] = (
    ("key", "BEFORE INSERT ON idempotency_keys"),
    ("key held", "AFTER INSERT ON idempotency_keys"),
    ("payment", "BEFORE INSERT ON payments"),
    ("facts", "BEFORE INSERT ON events"),
    ("sweep", "BEFORE UPDATE ON operations"),
    ("relay", "BEFORE UPDATE ON webhook_deliveries"),
)
_AT_COMMIT: Sequence[tuple[Place, str]] = (
    ("claim commits", "INSERT ON attempts"),
    ("facts commit", "INSERT ON events"),
)


@dataclass(frozen=True)
class OnDemand:
    """What the database of this ledger does at the places."""

    ledger: Ledger

    async def arm(self, place: Place, action: Action, argument: str = "", *, times: int = 1) -> None:
        """From now on it acts there, so often; a place that only reads, always. One place at a time is armed.

        What is held goes on once it is disarmed.
        """
        await self.disarm()
        await self.ledger.rows("SELECT setval('payonce_acted', 1, false)")
        await self.ledger.rows(
            "INSERT INTO payonce_armed VALUES (:place, :action, :argument, :times)",
            place=place,
            action=action,
            argument=argument,
            times=times,
        )

    async def disarm(self) -> None:
        """It does nothing any more."""
        await self.ledger.rows("DELETE FROM payonce_armed")

    async def passed(self) -> int:
        """How often the armed place was come by, acting or not."""
        (row,) = await self.ledger.rows(
            "SELECT last_value - (NOT is_called)::integer AS n FROM payonce_acted"
        )
        return int(row.n)


@asynccontextmanager
async def on_demand(ledger: Ledger) -> AsyncIterator[OnDemand]:
    """The places are in the ledger's database, and none is armed."""
    statements = [
        "CREATE SEQUENCE payonce_acted",
        "CREATE TABLE payonce_armed (place text, action text, argument text, times bigint)",
        _ACT,
        _ACT_HERE,
    ]
    for number, (place, event) in enumerate(_AT_STATEMENTS):
        statements.append(
            f"CREATE TRIGGER payonce_at_{number} {event}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION payonce_act_here('{place}')"
        )
    for number, (place, event) in enumerate(_AT_COMMIT):
        statements.append(
            f"CREATE CONSTRAINT TRIGGER payonce_at_commit_{number} AFTER {event} DEFERRABLE INITIALLY DEFERRED"
            f" FOR EACH ROW EXECUTE FUNCTION payonce_act_here('{place}')"
        )
    statements += [
        "ALTER TABLE payments RENAME TO payonce_payments",
        "CREATE VIEW payments WITH (security_invoker) AS"
        " SELECT * FROM payonce_payments WHERE payonce_act('read')",
        "GRANT ALL ON payments TO payonce_api, payonce_engine",  # what they may is the table's
    ]
    for statement in statements:
        await ledger.rows(statement)
    yield OnDemand(ledger)
