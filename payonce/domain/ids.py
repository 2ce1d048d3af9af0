"""Ids are derived, not drawn: the same key names the same payment in every process, for ever.

An id is a prefix, the cell's code and 120 bits of HMAC-SHA256 over what it stands for, in lower-case base32:
URL-safe, at most 64 characters, and the workflow id at the same time.
"""

import base64
import hashlib
import hmac
import re
import secrets

ID_MAX_LENGTH = 64
ID_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
RETURN_TOKEN_PATTERN = re.compile(r"[A-Za-z0-9_-]{43}\Z")  # 32 bytes in base64url
_DIGEST_BYTES = 15  # 120 bits: 24 base32 characters without padding
_TOKEN_HALF_BYTES = 16
_DIGEST_LENGTH = 24
_ATTEMPTED = ("pay", "re", "op")  # what operations are called for which attempts are made
_OWN_REFERENCE = re.compile(r"[a-z2-7]{24}-[1-9][0-9]{0,4}\Z")
_REFERENCE = re.compile(r"([A-Za-z0-9_-]{1,64})-([1-9][0-9]{0,4})\Z")
_NUMBER_MAX = 2**15 - 1  # of an attempt: Postgres keeps it in two bytes


class IdFactory:
    """Derives ids under one secret; changing the secret changes every id, so it is never rotated."""

    def __init__(self, secret: bytes, *, cell: str) -> None:
        self._secret = secret
        self._cell = cell

    def payment(self, *, merchant_id: str, mode: str, key: str) -> str:
        return self._derive("pay", merchant_id, mode, key)

    def refund(self, *, merchant_id: str, mode: str, key: str) -> str:
        return self._derive("re", merchant_id, mode, key)

    def operation(self, *, merchant_id: str, mode: str, key: str) -> str:
        """The id of a capture or a void, and of the update that carries it."""
        return self._derive("op", merchant_id, mode, key)

    def endpoint(self, *, merchant_id: str, mode: str, key: str) -> str:
        return self._derive("we", merchant_id, mode, key)

    def payment_method(self, *, merchant_id: str, mode: str, key: str) -> str:
        return self._derive("pm", merchant_id, mode, key)

    def saved_with(self, *, payment_id: str) -> str:
        """The id of the payment method that a payment saves."""
        return self._derive("pm", payment_id, "saved")

    def event(self, *, payment_id: str, sequence: int, xid: int) -> str:
        """With the transaction that writes it: an event that was lost with it and the one instead are two."""
        return self._derive("evt", payment_id, str(sequence), str(xid))

    def events_of_every_release(self, *, payment_id: str, sequence: int, xid: int) -> tuple[str, ...]:
        """Every id that the event may have: the first release derived it without the transaction."""
        first = self._derive("evt", payment_id, str(sequence))
        return self.event(payment_id=payment_id, sequence=sequence, xid=xid), first

    def dispute(self, *, account: str, acquirer_id: str) -> str:
        """The id of the dispute that the acquirer knows by its id at this account."""
        return self._derive("dp", account, acquirer_id)

    def expiry(self, *, payment_id: str, earlier: int = 0) -> str:
        """`earlier`: how many expiries of the payment there were before; what they released may stand again."""
        again = [str(earlier)] if earlier else []
        return self._derive("op", payment_id, "expiry", *again)

    def reversal(self, *, reference: str) -> str:
        """The id of the operation that undoes the attempt with this reference of ours."""
        return self._derive("op", reference, "reversal")

    def release(self, *, void_id: str) -> str:
        """The id of the refund of our own with which this void ends."""
        return self._derive("re", void_id, "release")

    def turn(self, *, payment_id: str, account: str, kind: str, acquirer_id: str, refund: bool) -> str:
        """The id of the operation that tells what an acquirer did of itself, by the acquirer's id of that."""
        return self._derive("re" if refund else "op", payment_id, account, kind, acquirer_id)

    def contradiction(self, *, reference: str) -> str:
        """The id of the operation that tells what the acquirer says of the attempt against a person's decision.

        `reference`: ours of the attempt, or the id of what the acquirer had said of it before.
        """
        return self._derive("op", reference, "contradiction")

    def follow_up(self, *, operation_id: str) -> str:
        """The id of the operation of our own that follows from the outcome of this one."""
        return self._derive("op", operation_id, "follow-up")

    def reconciliation(self, *, account: str, about: str, found: str) -> str:
        """The id of what a comparison with the acquirer found out: the same finding has it each time."""
        return self._derive("rec", account, about, found)

    def has_form(self, reference: str) -> bool:
        """Whether it looks as if an attempt of this cell had it: whether one did, only Postgres knows."""
        kind, _, rest = reference.partition("_")
        named, own = rest.removeprefix(self._cell), rest.startswith(self._cell)
        return own and kind in _ATTEMPTED and bool(_OWN_REFERENCE.match(named))

    def callback(self, *, connector: str, reference: str) -> str:
        """The id of the workflow that follows up what an acquirer says of this attempt of ours."""
        return self._derive("cb", connector, reference)

    def return_token(self, *, reference: str, claim: str) -> str:
        """What stands in the address of our return page for this claim of an attempt.

        128 bits that nobody can guess, for the claim's own token is random, and 128 by which we know them as ours.
        """
        named = self._digest("return", reference, claim)[:_TOKEN_HALF_BYTES]
        return base64.urlsafe_b64encode(named + self._seal_of(named)).decode().rstrip("=")

    def made_return_token(self, token: str) -> bool:
        """Whether it was made here: one that was not is known as such without a look at Postgres."""
        if not RETURN_TOKEN_PATTERN.match(token):
            return False
        both = base64.urlsafe_b64decode(f"{token}=")
        named, seal = both[:_TOKEN_HALF_BYTES], both[_TOKEN_HALF_BYTES:]
        return hmac.compare_digest(seal, self._seal_of(named))

    def _seal_of(self, named: bytes) -> bytes:
        return self._digest("return token", named.hex())[:_TOKEN_HALF_BYTES]

    def _derive(self, prefix: str, *parts: str) -> str:
        digest = self._digest(prefix, *parts)[:_DIGEST_BYTES]
        return f"{prefix}_{self._cell}{base64.b32encode(digest).decode().lower()}"

    def _digest(self, *parts: str) -> bytes:
        message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
        return hmac.new(self._secret, message, hashlib.sha256).digest()


def digest_of(id_: str) -> str:
    """What was derived in an id: all but its prefix and the cell."""
    return id_[-_DIGEST_LENGTH:]


def attempt_reference(operation_id: str, number: int) -> str:
    """Our reference for one attempt: unique for ever, sent to the acquirer, and what an inquiry asks for."""
    return f"{operation_id}-{number}"


def attempt_named(reference: str) -> tuple[str, int] | None:
    """The operation and the number of the attempt that has this reference; None: no attempt can have it."""
    named = _REFERENCE.match(reference)
    if named is None or int(named[2]) > _NUMBER_MAX:
        return None
    return named[1], int(named[2])


def operation_id_of(reference: str) -> str:
    """The operation whose attempt has this reference of ours."""
    return reference.rpartition("-")[0]


def hash_of_return(token: str) -> bytes:
    """What is stored of a return token."""
    return hashlib.sha256(token.encode()).digest()


def random_id(prefix: str) -> str:
    """An id that stands for nothing but itself: a merchant, an API key, a boot."""
    return f"{prefix}_{base64.b32encode(secrets.token_bytes(_DIGEST_BYTES)).decode().lower()}"
