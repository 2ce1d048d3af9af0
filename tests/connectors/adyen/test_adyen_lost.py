"""Money first: whatever becomes of an answer of Adyen's, it is the fact that was documented, or unknown."""

import pytest
from adyen_script import (
    BY_REFERENCE,
    DETAILS,
    MODIFICATION,
    PATHS,
    PAYMENTS,
    PSP,
    REVERSALS,
    Open,
    account,
    call,
    paid,
    problem,
    received,
    redirected,
)

from payonce.connectors.adyen.connector import Adyen
from payonce.connectors.conformance import no, yes
from payonce.domain.errors import LegInvalid, NotSent, OutcomeUnknown, Rejected
from payonce.domain.facts import Accepted, Approved, Pending, Refused, Stage
from payonce.domain.operations import OperationKind
from tests.connectors.scripted import Answer

K = OperationKind
KINDS = (K.AUTHORIZE, K.CAPTURE, K.VOID, K.REFUND)
LEG = {"redirectResult": "X6XtfGC3!Y"}

LOST = {
    "time-out": Answer(silent=True),
    "reset": Answer(reset=True),
    "500": Answer({"status": 500, "errorCode": "905", "message": "oh", "errorType": "internal"}, status=500),
    "500 with words of a refusal": problem("101", status=500),
    "the store of keys is away": problem("703", status=503),
    "garbage": Answer(raw=b"<html>"),
    "nothing": Answer(raw=b""),
    "a list": Answer([]),
    "an empty object": Answer({}),
    "processed or in progress": problem("704"),
    "processed or in progress, as a conflict": problem("704", status=409),
    "transient": problem("101", transient_error="true"),
    "a validation that nobody has heard of": problem("9999"),
    "a refusal in another status": problem("101", status=404),
    "an error without a code": Answer({"status": 422}, status=422),
    "a redirect": Answer({}, status=302),
    "429": problem("000", status=429),
}
ANOTHERS = {
    K.AUTHORIZE: Answer(paid(merchantReference="ApayZu01anotherZd1")),
    K.CAPTURE: received(K.CAPTURE, reference="CopZu01anotherZd1"),
    K.VOID: received(K.VOID, paymentPspReference="ABCDEFGHJKLMNPQR"),
    K.REFUND: received(K.REFUND, merchantAccount="AnotherECOM"),
}


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_lost_is_unknown(adyen: Open, kind: OperationKind, lost: str) -> None:
    connector, server = await adyen({PATHS[kind]: LOST[lost]})
    with pytest.raises(OutcomeUnknown):
        await connector.send(call(kind), may_send=yes)
    assert len(server.sent) == 1


@pytest.mark.parametrize("lost", LOST)
async def test_a_leg_that_is_lost_is_unknown(adyen: Open, lost: str) -> None:
    connector, server = await adyen({DETAILS: LOST[lost]})
    with pytest.raises(OutcomeUnknown):
        await connector.resume(call(card=None), LEG, leg=1, may_send=yes)
    assert len(server.sent) == 1


@pytest.mark.parametrize("path", [REVERSALS, BY_REFERENCE])
@pytest.mark.parametrize("answer", [*LOST.values(), problem("000", status=401), problem("010", status=403)])
async def test_a_reversal_says_nothing_whatever_is_answered(adyen: Open, path: str, answer: Answer) -> None:
    """Also where our credentials are refused: what is to be undone was taken with the same ones."""
    connector, _ = await adyen({path: answer})
    with pytest.raises(OutcomeUnknown):
        await connector.reverse(call(attempt_reference=PSP if path == REVERSALS else None))


@pytest.mark.parametrize("kind", KINDS)
async def test_the_answer_to_another_request_is_unknown(adyen: Open, kind: OperationKind) -> None:
    connector, _ = await adyen({PATHS[kind]: ANOTHERS[kind]})
    with pytest.raises(OutcomeUnknown):
        await connector.send(call(kind), may_send=yes)


async def test_an_answer_in_another_currency_is_unknown(adyen: Open) -> None:
    usd = {"currency": "USD", "value": 1099}
    connector, _ = await adyen(
        {PAYMENTS: Answer(paid(amount=usd)), PATHS[K.CAPTURE]: received(K.CAPTURE, amount=usd)}
    )
    for kind in (K.AUTHORIZE, K.CAPTURE):
        with pytest.raises(OutcomeUnknown):
            await connector.send(call(kind), may_send=yes)


@pytest.mark.parametrize("kind", KINDS)
async def test_without_the_right_nothing_is_sent(adyen: Open, kind: OperationKind) -> None:
    connector, server = await adyen({})
    with pytest.raises(NotSent):
        await connector.send(call(kind), may_send=no)
    with pytest.raises(NotSent):
        await connector.resume(call(card=None), LEG, leg=1, may_send=no)
    assert server.sent == []


@pytest.mark.parametrize("kind", KINDS)
async def test_who_cannot_connect_has_sent_nothing(refusing_url: str, kind: OperationKind) -> None:
    connector = Adyen(account(refusing_url))
    with pytest.raises(NotSent):
        await connector.send(call(kind), may_send=yes)
    with pytest.raises(NotSent):
        await connector.resume(call(card=None), LEG, leg=1, may_send=yes)
    await connector.close()


@pytest.mark.parametrize("answer", [problem("000", status=401), problem("010", status=403), problem("901")])
@pytest.mark.parametrize("kind", KINDS)
async def test_refused_credentials_are_ours_to_mend(adyen: Open, kind: OperationKind, answer: Answer) -> None:
    connector, _ = await adyen({PATHS[kind]: answer})
    with pytest.raises(Rejected):
        await connector.send(call(kind), may_send=yes)


@pytest.mark.parametrize(
    ("code", "pointer"), [("101", "/payment_method/card/number"), ("138", "/currency"), ("167", None)]
)
@pytest.mark.parametrize("kind", KINDS)
async def test_data_that_is_refused_for_ever_is_a_value(
    adyen: Open, kind: OperationKind, code: str, pointer: str | None
) -> None:
    connector, _ = await adyen({PATHS[kind]: problem(code)})
    assert await connector.send(call(kind), may_send=yes) == Refused(code, pointer)


@pytest.mark.parametrize("kind", [K.CAPTURE, K.VOID, K.REFUND])
async def test_a_modification_is_accepted_and_nothing_more(adyen: Open, kind: OperationKind) -> None:
    connector, _ = await adyen({PATHS[kind]: received(kind)})
    assert await connector.send(call(kind), may_send=yes) == Accepted(MODIFICATION)


@pytest.mark.parametrize("kind", [K.CAPTURE, K.VOID, K.REFUND])
async def test_another_status_than_received_is_pending(adyen: Open, kind: OperationKind) -> None:
    connector, _ = await adyen({PATHS[kind]: received(kind, status="done")})
    assert isinstance(await connector.send(call(kind), may_send=yes), Pending)


@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_sent_again_as_it_was_to_the_last_byte(adyen: Open, kind: OperationKind) -> None:
    """By another process, with what is in Postgres; a card is in its owner's memory."""
    answer = Answer(paid()) if kind is K.AUTHORIZE else received(kind)
    first, one = await adyen({PATHS[kind]: LOST["reset"]})
    again, other = await adyen({PATHS[kind]: answer})
    with pytest.raises(OutcomeUnknown):
        await first.send(call(kind), may_send=yes)
    assert isinstance(await again.send(call(kind), may_send=yes), Approved | Accepted)
    assert one.sent[0].body == other.sent[0].body
    assert one.sent[0].key == other.sent[0].key


async def test_no_two_calls_share_a_key_and_none_is_longer_than_adyen_takes(adyen: Open) -> None:
    connector, server = await adyen({})
    for kind in KINDS:
        for number in (1, 2):
            with pytest.raises(OutcomeUnknown):  # nothing is in the script
                await connector.send(call(kind, reference=f"op_{kind}-{number}"), may_send=yes)
    for leg in range(1, 6):
        with pytest.raises(OutcomeUnknown):
            await connector.resume(call(card=None), LEG, leg=leg, may_send=yes)
    for psp in (None, PSP):
        with pytest.raises(OutcomeUnknown):
            await connector.reverse(call(attempt_reference=psp))
    keys = [sent.key for sent in server.sent]
    assert len(set(keys)) == len(keys) == 15
    assert {len(key) for key in keys} == {64}


async def test_a_leg_authorizes_and_its_parameters_alone_are_sent(adyen: Open) -> None:
    connector, server = await adyen({PAYMENTS: Answer(redirected()), DETAILS: Answer(paid())})
    await connector.send(call(), may_send=yes)
    reply = await connector.resume(call(card=None), {**LEG, "other": "1"}, leg=1, may_send=yes)
    assert isinstance(reply, Approved)
    assert (reply.connector_reference, reply.stage) == (PSP, Stage.CAPTURED)
    assert server.of(DETAILS)[0].body == {"details": LEG}
    again = await connector.resume(call(card=None), LEG, leg=1, may_send=yes)
    assert again == reply
    assert len({sent.key for sent in server.of(DETAILS)}) == 1


async def test_a_leg_whose_parameters_are_not_good_is_invalid(adyen: Open) -> None:
    connector, _ = await adyen({DETAILS: problem("174")})
    with pytest.raises(LegInvalid):
        await connector.resume(call(card=None), LEG, leg=1, may_send=yes)


async def test_a_browser_that_brings_nothing_back_spends_nothing(adyen: Open) -> None:
    connector, server = await adyen({})
    with pytest.raises(LegInvalid):
        await connector.resume(call(card=None), {"other": "1"}, leg=1, may_send=yes)
    assert server.sent == []


@pytest.mark.parametrize("status", [400, 409])
async def test_it_is_so_by_its_documented_status_alone(adyen: Open, status: int) -> None:
    connector, _ = await adyen({DETAILS: problem("174", status=status)})
    with pytest.raises(OutcomeUnknown):
        await connector.resume(call(card=None), LEG, leg=1, may_send=yes)


async def test_a_leg_with_refused_credentials_is_rejected_and_proves_nothing(adyen: Open) -> None:
    """Whoever calls makes it unknown: see `TwoLegged`."""
    connector, _ = await adyen({DETAILS: problem("000", status=401)})
    with pytest.raises(Rejected):
        await connector.resume(call(card=None), LEG, leg=1, may_send=yes)


async def test_nobody_can_be_asked() -> None:
    connector = Adyen(account("http://127.0.0.1:1"))
    for kind in KINDS:
        with pytest.raises(Rejected):
            await connector.inquire(call(kind))


async def test_a_reversal_is_asked_for_by_adyens_reference_or_by_ours_and_is_never_done(adyen: Open) -> None:
    connector, server = await adyen(
        {REVERSALS: received(K.REFUND), BY_REFERENCE: Answer({"status": "received"}, status=201)}
    )
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await connector.reverse(call(attempt_reference=PSP))
    for unknown in (None, "ApayZu01jtestZd1"):  # the second is what an attempt has whose customer was asked
        with pytest.raises(OutcomeUnknown):
            await connector.reverse(call(attempt_reference=unknown))
    assert [sent.name for sent in server.sent] == [REVERSALS, REVERSALS, BY_REFERENCE, BY_REFERENCE]
    own = {"merchantAccount": "PayonceECOM", "reference": "XpayZu01jtestZd1"}
    assert server.of(REVERSALS)[0].body == own
    assert server.of(BY_REFERENCE)[0].body == {**own, "paymentReference": "ApayZu01jtestZd1"}
    assert len({sent.key for sent in server.of(REVERSALS)}) == 1
