"""What the customer's pages look like. Everything a sender chose is escaped; nothing is loaded, nothing runs."""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from html import escape
from typing import Any

from devstack.acquirer.scripts import Rail
from devstack.acquirer.waiting import Shown

INDIA = timezone(timedelta(hours=5, minutes=30))
REFRESH_S = 2
AMOUNT_AT_FULL_SIZE_MAX = 11  # characters on one line of a narrow phone
_WALLET_NAMES = {"paytm": "Paytm", "phonepe": "PhonePe"}

_STYLE = """
:root{color-scheme:light dark;--ground:#eef1f6;--card:#fff;--ink:#14202e;--soft:#55637a;--line:#dfe5ee;
--accent:#0b5fd0;--yes:#0a7a43;--no:#b3261e;--wait:#8a5a00;--yes-tint:#e3f5eb;--no-tint:#fdeceb;
--wait-tint:#fff4dd}
@media(prefers-color-scheme:dark){:root{--ground:#0e141c;--card:#18212d;--ink:#eaf0f8;--soft:#a2b0c4;
--line:#2b3747;--accent:#7fb3ff;--yes:#4cc38a;--no:#ff8f87;--wait:#f0bf5f;--yes-tint:#12301f;--no-tint:#3a1a18;
--wait-tint:#33270d}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,"Noto Sans",sans-serif}
main{max-width:26rem;margin:0 auto;padding:1rem;min-height:100vh;display:flex;flex-direction:column;gap:1rem}
header{display:flex;justify-content:space-between;align-items:center;gap:.5rem}
header strong{font-size:1.05rem}
.badge{font-size:.75rem;color:var(--soft);border:1px solid var(--line);border-radius:1rem;padding:.1rem .6rem;
background:var(--card);white-space:nowrap}
section{background:var(--card);border:1px solid var(--line);border-radius:1rem;padding:1.25rem}
h1{font-size:1.05rem;margin:0;font-weight:600}
.amount{font-size:2.25rem;line-height:1.2;font-weight:700;margin:.25rem 0 0;font-variant-numeric:tabular-nums;
overflow-wrap:anywhere}
.long{font-size:1.5rem}
.payee{margin:0;color:var(--soft);overflow-wrap:anywhere}
.payee b{color:var(--ink)}
.state{display:inline-block;margin:0 0 .75rem;padding:.15rem .75rem;border-radius:1rem;font-size:.875rem;
font-weight:600}
.approved{background:var(--yes-tint);color:var(--yes)}
.declined,.expired,.reversed,.closed{background:var(--no-tint);color:var(--no)}
.pending{background:var(--wait-tint);color:var(--wait)}
dl{margin:1rem 0 0;border-top:1px solid var(--line);padding-top:.75rem;display:grid;gap:.6rem}
dt{color:var(--soft);font-size:.8125rem}
dd{margin:0;font-size:.9375rem;overflow-wrap:anywhere;max-height:4.5em;overflow-y:auto}
form{display:grid;gap:.75rem}
button,.link{display:block;width:100%;min-height:3.25rem;border-radius:.75rem;font:inherit;font-weight:600;
cursor:pointer;text-align:center;text-decoration:none;padding:.8rem 1rem}
.go,.link{background:var(--yes);border:1px solid var(--yes);color:var(--card)}
.link{background:var(--accent);border-color:var(--accent)}
.stop{background:transparent;border:1px solid var(--no);color:var(--no)}
.quiet{background:transparent;border:1px solid var(--soft);color:var(--ink)}
label{font-weight:600}
input,select{width:100%;min-height:3.25rem;border-radius:.75rem;border:1px solid var(--soft);background:var(--card);
color:var(--ink);font:inherit;font-size:1.25rem;letter-spacing:.2em;padding:.5rem 1rem}
.wrong{margin:0;padding:.5rem .75rem;border-radius:.5rem;background:var(--no-tint);color:var(--no)}
button:focus-visible,input:focus-visible,.link:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.hint{color:var(--soft);font-size:.875rem;margin:0}
footer{margin-top:auto;color:var(--soft);font-size:.8125rem}
"""
STYLE_HASH = "sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


@dataclass(frozen=True, slots=True)
class _Words:
    """What a payment's state is called on the page. `look` is a class of the style sheet."""

    look: str
    state: str
    title: str
    hint: str


def payment_page(payment: Shown, *, back_url: str | None) -> str:
    """The page of a payment: what is asked, its state, and the buttons while an answer counts."""
    words = _words(payment)
    result, details = payment.result, payment.details
    lines = _detail_lines(payment)
    body = f"""
<section aria-labelledby="title">
<p class="state {words.look}" role="status">{words.state}</p>
<h1 id="title">{words.title}</h1>
{amount_line(rupees(result["amount"]))}
{_payee(details.get("payee"))}
<dl>{"".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in lines)}</dl>
</section>
{_form() if payment.answer_by is not None else ""}
{back_link(back_url) if payment.answer_by is None else ""}
<p class="hint">{words.hint}</p>"""
    waits = result["status"] in ("pending", "expired") and payment.decides_itself
    return document(_name(payment), f"{words.state}: {rupees(result['amount'])}", body, refreshes=waits)


def missing_page() -> str:
    """The page of a payment that does not exist."""
    body = """
<section aria-labelledby="title">
<p class="state closed" role="status">Not found</p>
<h1 id="title">There is no such payment here</h1>
<p class="payee">The link may be incomplete, or the sandbox was reset since it was made.</p>
</section>"""
    return document("Sandbox", "Not found", body, refreshes=False)


def authentication_page(amount: str, *, is_open: bool) -> str:
    """The page of a card's bank, with its two answers while it waits for one."""
    look, state, title = ("pending", "Waiting for you", "Is it you who pays?")
    if not is_open:
        look, state, title = ("closed", "Closed", "This request was answered, or given up")
    body = f"""
<section aria-labelledby="title">
<p class="state {look}" role="status">{state}</p>
<h1 id="title">{title}</h1>
{amount_line(amount)}
</section>
{_AUTHENTICATION_FORM if is_open else ""}
<p class="hint">A test of 3-D Secure: no bank asks.</p>"""
    return document("Your bank", f"{state}: {amount}", body, refreshes=False)


_AUTHENTICATION_FORM = """<form method="post">
<button class="go" name="decision" value="complete">Complete</button>
<button class="stop" name="decision" value="fail">Fail</button>
</form>"""


def rupees(amount_minor: int) -> str:
    """₹ with the digits grouped as in India: the last three, then pairs."""
    whole, paise = divmod(amount_minor, 100)
    head, tail = str(whole)[:-3], str(whole)[-3:]
    pairs = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)]
    return "₹" + ",".join([*reversed(pairs), tail]) + f".{paise:02d}"


def _words(payment: Shown) -> _Words:
    match payment.result["status"]:
        case "approved":
            return _Words("approved", "Approved", "You paid", "You can close this page.")
        case "declined":
            return _Words("declined", "Declined", "Not paid", "No money moved. You can close this page.")
        case "reversed" if payment.decided_at is not None:
            return _Words("reversed", "Paid back", "Paid, then returned to you", "You can close this page.")
        case "reversed":
            hint = "The merchant gave this request up."
            return _Words("reversed", "Withdrawn", "No longer asked for", hint + _still(payment))
        case "expired":
            return _Words("expired", "Expired", "Not paid in time", "Its time ran out.")
        case _:
            return _pending_words(payment)


def _pending_words(payment: Shown) -> _Words:
    if payment.answer_by is not None:
        return _Words("pending", "Waiting for you", "Approve this payment?", _still(payment).strip())
    if payment.decides_itself:
        hint = "This test address answers by itself; the page follows."
        return _Words("pending", "Waiting for the bank", "Payment under way", hint)
    return _Words("closed", "Closed", "Never answered", "It is too late to answer this request.")


def _still(payment: Shown) -> str:
    """Until when an answer counts, if it does."""
    if payment.answer_by is None:
        return ""
    asked_until = _clock(datetime.fromisoformat(payment.result["expires_at"]))
    if payment.has_lapsed:
        return f" Its time ended at {asked_until}; an answer still counts until {_clock(payment.answer_by)}."
    return f" Please answer by {asked_until}."


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(INDIA):%H:%M:%S} IST"


def amount_line(text: str) -> str:
    """The amount, large, and smaller where it would not fit a narrow phone."""
    look = "amount" if len(text) <= AMOUNT_AT_FULL_SIZE_MAX else "amount long"
    return f'<p class="{look}">{text}</p>'


def _payee(payee: dict[str, Any] | None) -> str:
    if payee is None:
        return ""
    return f'<p class="payee">to <b>{escape(payee["name"])}</b><br>{escape(payee["vpa"])}</p>'


def _detail_lines(payment: Shown) -> list[tuple[str, str]]:
    details, result = payment.details, payment.result
    lines = [("Note", details.get("note")), ("From", details.get("payer_vpa"))]
    lines += [("UPI reference (RRN)", result.get("rrn")), ("Payment", payment.payment_reference)]
    return [(name, text) for name, text in lines if text]


def _form() -> str:
    return """<form method="post">
<button class="go" name="decision" value="approve">Approve</button>
<button class="stop" name="decision" value="decline">Decline</button>
</form>"""


def back_link(back_url: str | None) -> str:
    """A way to the merchant, where there is one."""
    if back_url is None:
        return ""
    return f'<a class="link" href="{escape(back_url)}">Back to the merchant</a>'


def _name(payment: Shown) -> str:
    if payment.rail is Rail.UPI:
        return "UPI app"
    return f"{_WALLET_NAMES[payment.details['provider']]} wallet"


def document(name: str, title: str, body: str, *, refreshes: bool) -> str:
    """A whole page of the sandbox."""
    refresh = f'<meta http-equiv="refresh" content="{REFRESH_S}">' if refreshes else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh}
<title>{title}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<header><strong>{name}</strong><span class="badge">Sandbox: no real money</span></header>
{body}
<footer>Here you play the customer. No bank and no wallet takes part.</footer>
</main>
</body>
</html>
"""
