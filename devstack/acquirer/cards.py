"""What the sandbox's card numbers do, and how little of a number is kept."""

# Source: shared/api.md, "Sandbox triggers". Any other number that passes Luhn is approved.
DECLINE_CODE_BY_NUMBER = {
    "4000000000000002": "generic_decline",
    "4000000000009995": "insufficient_funds",
    "4000000000009987": "lost_card",
    "4000000000000069": "expired_card",
    "4000000000000127": "incorrect_cvc",
    "4000000000000119": "processing_error",
    # 3-D Secure; declined until the challenge page exists.
    "4000002500003155": "authentication_required",
    "4000008260003178": "authentication_required",
}


def decline_code(number: str) -> str | None:
    """The issuer's reason for refusing `number`, or None when it approves."""
    return DECLINE_CODE_BY_NUMBER.get(number)


def masked(number: str) -> str:
    """The first six and the last four digits; of a number shorter than 13, the last four only."""
    first = number[:6] if len(number) >= 13 else ""
    return first + "*" * (len(number) - len(first) - 4) + number[-4:]


def passes_luhn(digits: str) -> bool:
    """Whether the check digit is right. Source: ISO/IEC 7812-1 annex B."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
