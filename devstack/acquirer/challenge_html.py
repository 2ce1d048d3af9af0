"""What the page of a card's bank looks like, in the style of the other pages."""

import base64
import hashlib
from collections.abc import Mapping
from html import escape

import iso4217

from devstack.acquirer import page_html
from devstack.acquirer.challenges import CODE, WRONG_CODES_MAX
from devstack.acquirer.waiting import BROUGHT_FIRST, Shown

_NAME = "Your bank"
_SCRIPT = "document.forms[0].submit()"
SCRIPT_HASH = "sha256-" + base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()


def challenge_page(payment: Shown, *, back_url: str | None) -> str:
    """The page of a challenge: what is to be paid, and while an answer counts, the code and three buttons."""
    look, state, title, hint = _words(payment)
    amount = money(payment.result["amount"], payment.result["currency"])
    lines = [("Card", payment.details["card"]), ("Payment", payment.payment_reference)]
    is_open = payment.answer_by is not None
    body = f"""
<section aria-labelledby="title">
<p class="state {look}" role="status">{state}</p>
<h1 id="title">{title}</h1>
{page_html.amount_line(amount)}
<dl>{"".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in lines)}</dl>
</section>
{_form(payment.wrong_codes) if is_open else page_html.back_link(back_url)}
<p class="hint">{hint}</p>"""
    return page_html.document(_NAME, f"{state}: {amount}", body, refreshes=False)


def return_page(return_url: str, brought: Mapping[str, str]) -> str:
    """A page that posts what the browser brings back to the merchant, by itself where scripts run."""
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in brought.items()
    )
    body = f"""
<section aria-labelledby="title">
<h1 id="title">Back to the merchant</h1>
</section>
<form method="post" action="{escape(return_url)}">
{fields}
<button class="go">Continue</button>
</form>
<script>{_SCRIPT}</script>"""
    return page_html.document(_NAME, "Back to the merchant", body, refreshes=False)


def money(amount_minor: int, currency: str) -> str:
    """The amount in the currency's own unit, which every merchant's currency has."""
    if currency == "INR":
        return page_html.rupees(amount_minor)
    try:
        digits = iso4217.Currency(currency).exponent or 0
    except ValueError:
        digits = 0
    whole, rest = divmod(amount_minor, 10**digits)
    return f"{currency} {whole:,}" + (f".{rest:0{digits}d}" if digits else "")


def _words(payment: Shown) -> tuple[str, str, str, str]:
    """The look, the state, the title and the hint."""
    close = "You can close this page."
    match payment.result["status"]:
        case "approved":
            return "approved", "Approved", "You paid", close
        case "declined" if payment.authenticated:
            return "declined", "Declined", "It was you, but the bank declined", f"No money moved. {close}"
        case "declined":
            return (
                "declined",
                "Failed",
                "Your bank could not confirm that it was you",
                f"No money moved. {close}",
            )
        case "reversed" if payment.decided_at is not None:
            return "reversed", "Paid back", "Paid, then returned to you", close
        case "reversed":
            return "reversed", "Withdrawn", "No longer asked for", "The merchant gave this request up."
        case "expired":
            return "expired", "Expired", "Not answered in time", "Its time ran out."
        case _:
            return _pending_words(payment)


def _pending_words(payment: Shown) -> tuple[str, str, str, str]:
    if payment.answer_by is not None:
        hint = "A test of 3-D Secure: no bank asks. Cancel goes back and leaves this request open."
        once_more = " once more" if BROUGHT_FIRST in payment.details else ""
        return "pending", "Waiting for you", f"Confirm{once_more} that it is you who pays", hint
    if payment.authenticated is not None:
        return "pending", "Answered", "Your answer is known", "The merchant has to go on from here."
    return "closed", "Closed", "Never answered", "It is too late to answer this request."


def _form(wrong_codes: int) -> str:
    left = WRONG_CODES_MAX - wrong_codes
    tries = "1 try is left" if left == 1 else f"{left} tries are left"
    wrong = (
        f'<p class="wrong" id="wrong" role="alert">That code is wrong. {tries}.</p>' if wrong_codes else ""
    )
    described = (
        'aria-describedby="hint wrong" aria-invalid="true"' if wrong_codes else 'aria-describedby="hint"'
    )
    return f"""<form method="post">
{wrong}
<label for="code">One-time code</label>
<p class="hint" id="hint">A bank would send it to your phone. Here it is always {CODE}.</p>
<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="12" required autofocus
{described}>
<button class="go" name="decision" value="submit">Submit</button>
<button class="stop" name="decision" value="fail" formnovalidate>Fail</button>
<button class="quiet" name="decision" value="cancel" formnovalidate>Cancel</button>
</form>"""
