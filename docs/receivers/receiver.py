"""A complete receiver of payonce's webhooks: verified, each event once, each payment in order.

    pip install standardwebhooks
    WEBHOOK_SECRET=whsec_… python receiver.py 4242

It answers as soon as the event is stored, and works on it afterwards: an answer that takes longer than 15 s
counts as a failure, and the event comes again. What is stored decides:

- `webhook-id` is the event's id: it is the primary key, so an event that comes twice is kept once.
- `sequence` numbers the events of one payment without gaps: they are worked on in that order, whatever the order
  in which they came. An event that waits for one before it waits in the database.
"""

import json
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

BODY_BYTES_MAX = 1024 * 1024
SOCKET_S = 10
GAP_S = 300  # so long an event waits for the one before it, which may never come: an endpoint with a filter has gaps
EVERY_S = 30

Event = dict[str, Any]

SCHEMA = """
CREATE TABLE IF NOT EXISTS inbox (
    id TEXT PRIMARY KEY,
    payment TEXT,
    sequence INTEGER NOT NULL,
    body TEXT NOT NULL,
    received_at REAL NOT NULL,
    done INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS inbox_by_payment ON inbox (payment, sequence);
CREATE INDEX IF NOT EXISTS inbox_waiting ON inbox (received_at) WHERE NOT done;
"""
# The next of each payment: nothing before it waits, and the one right before it is done (or is overdue).
NEXT = """
SELECT id, body FROM inbox AS event
 WHERE NOT done
   AND NOT EXISTS (SELECT 1 FROM inbox AS earlier WHERE earlier.payment = event.payment
                      AND earlier.sequence < event.sequence AND NOT earlier.done)
   AND (payment IS NULL OR sequence = 1 OR received_at < :overdue_before
        OR EXISTS (SELECT 1 FROM inbox AS earlier WHERE earlier.payment = event.payment
                      AND earlier.sequence = event.sequence - 1 AND earlier.done))
 ORDER BY received_at, sequence LIMIT 1
"""


class Inbox:
    """The events that came, in a SQLite file. Every method may be called from any thread."""

    def __init__(self, path: str) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.executescript("PRAGMA journal_mode = wal; PRAGMA synchronous = full;" + SCHEMA)

    def put(self, event_id: str, event: Event, body: bytes) -> bool:
        """Whether the event is new. Either way it is on the disk."""
        with self._lock, self._db:
            added = self._db.execute(
                "INSERT INTO inbox (id, payment, sequence, body, received_at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (event_id, payment_of(event), event["sequence"] or 0, body.decode(), time.time()),
            )
            return added.rowcount == 1

    def work(self, handle: Callable[[Event], None], *, gap_s: float = GAP_S) -> int:
        """Everything that may be worked on now was handed to `handle`, and how many that were.

        If `handle` raises, or the process ends before the commit, the event is handed over again: so do both
        in one transaction where you can, and make it safe to repeat where you cannot.
        """
        count = 0
        with self._lock:
            while row := self._db.execute(NEXT, {"overdue_before": time.time() - gap_s}).fetchone():
                with self._db:
                    handle(json.loads(row[1]))
                    self._db.execute("UPDATE inbox SET done = 1 WHERE id = ?", (row[0],))
                count += 1
        return count


def payment_of(event: Event) -> str | None:
    """The payment that the event is about. None for those about saved cards and endpoints, which have no order."""
    data = event["data"]
    match data.get("object"):
        case "payment":
            return str(data["id"])
        case "refund" | "dispute":
            return str(data["payment"])
        case _:
            return None


def handler_for(webhook: Webhook, inbox: Inbox, news: threading.Event) -> type[BaseHTTPRequestHandler]:
    """Answers 204 to what was stored, whether it is new or not, and 4xx to what is not from payonce."""

    class Handler(BaseHTTPRequestHandler):
        timeout = SOCKET_S

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > BODY_BYTES_MAX:
                return self._answer(413)
            body = self.rfile.read(int(length))  # the bytes as they came: what was signed
            try:
                event = webhook.verify(body, dict(self.headers.items()))
            except (WebhookVerificationError, ValueError):
                return self._answer(400)
            inbox.put(self.headers["webhook-id"], event, body)
            news.set()
            return self._answer(204)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


def show(event: Event) -> None:
    """Your business goes here."""
    print(f"{event['id']}  {event['sequence'] or '':>3}  {event['type']}", flush=True)


def main() -> None:
    inbox, news = Inbox(os.environ.get("WEBHOOK_INBOX", "inbox.sqlite")), threading.Event()
    webhook = Webhook(os.environ["WEBHOOK_SECRET"])
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 4242
    server = ThreadingHTTPServer(("127.0.0.1", port), handler_for(webhook, inbox, news))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"listening on port {server.server_port}", flush=True)
    while True:
        inbox.work(show)
        news.wait(timeout=EVERY_S)
        news.clear()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
