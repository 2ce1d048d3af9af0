"""Bodies come back byte for byte, whatever they are, and what this release packed is read for ever."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from payonce.domain.answers import encode, event_body, failed_answer, failure_error, payment_view, timestamp
from payonce.domain.facts import FailureCode
from payonce.domain.payment import PaymentStatus
from payonce.storage import packing
from payonce.storage.packing import (
    CannotUnpack,
    body_of,
    pack,
    pack_event,
    pack_method,
    unpack,
    unpack_event,
    unpack_method,
)
from tests.support import rows

AT = datetime(2027, 1, 31, 12, tzinfo=UTC)
MADE, PAID = datetime(2026, 11, 22, 5, 46, 8, 931_000, UTC), datetime(2026, 11, 22, 5, 46, 8, 948_000, UTC)
BODY = (
    b'{"id":"evt_1","type":"payment.captured","sequence":2,"data":{"object":"payment","status":"captured"}}'
)
IN_ROW: Final[dict[str, Any]] = {
    "id_": "evt_1",
    "payment_id": "pay_1",
    "created_at": datetime(2027, 1, 31, 12, 0, 7, 125_000, UTC),
}
SAID = (
    b'{"id":"evt_1","type":"payment.captured","timestamp":"2027-01-31T12:00:07.125Z","sequence":2,'
    b'"data":{"id":"pay_1","object":"payment","status":"captured","created_at":"2027-01-31T12:00:07.031Z",'
    b'"updated_at":"2027-01-31T12:00:07.125Z"}}'
)
PACKED_IN_ROW = bytes.fromhex("021bb8ac80e6586343acbd1e00")
PACKED = bytes.fromhex("0143ca538678f314d6cc4254fea8ad0500")


@given(st.binary(max_size=3_000))
def test_any_body_comes_back(body: bytes) -> None:
    assert unpack(pack(body)) == body


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=40))
def test_any_payment_s_event_comes_back(metadata: dict[str, object]) -> None:
    body = event_body(event_id="evt_1", type_="payment.captured", at=AT, sequence=2, data=metadata)
    assert unpack(pack(body)) == body


def test_what_this_release_packed_is_read_for_ever() -> None:
    """The bytes are in databases: neither they nor the dictionary may ever change."""
    assert unpack(PACKED) == BODY


def test_what_this_release_packed_of_an_event_is_read_for_ever() -> None:
    """The same of the second form."""
    assert unpack_event(PACKED_IN_ROW, **IN_ROW) == SAID
    row = {**IN_ROW, "id": "evt_1"}
    for stored in (PACKED_IN_ROW, pack(SAID), SAID, packing.Unread(PACKED_IN_ROW)):
        assert body_of({**row, "body": stored}) == SAID


@given(
    st.binary(max_size=3_000) | st.text("evt_1pay:2-T.07Z\x01\x02\x03\x04\x05", max_size=200).map(str.encode),
    st.sampled_from(["evt_1", "e", "2", "", "evt_1pay"]),
    st.sampled_from([None, "", "pay_1", "p", "2027"]),
)
def test_any_body_comes_back_with_its_row(body: bytes, id_: str, payment_id: str | None) -> None:
    row: dict[str, Any] = {**IN_ROW, "id_": id_, "payment_id": payment_id}
    assert unpack_event(pack_event(body, **row), **row) == body


@given(
    st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=40),
    st.datetimes(timezones=st.timezones()),
)
def test_any_event_comes_back_with_its_row(metadata: dict[str, object], at: datetime) -> None:
    """Whatever it says of the row once more, and in whichever zone Postgres shows the time."""
    metadata = {**metadata, "id": "pay_1", "said": f"pay_1 evt_1 {at.isoformat()}", "at": timestamp(at)}
    body = event_body(event_id="evt_1", type_="payment.captured", at=at, sequence=2, data=metadata)
    row = {"id_": "evt_1", "payment_id": "pay_1"}
    stored = pack_event(body, **row, created_at=at)
    assert stored[:1] == b"\x02"
    assert unpack_event(stored, **row, created_at=at.astimezone(ZoneInfo("Asia/Kolkata"))) == body


def test_a_body_that_has_a_control_character_stands_alone() -> None:
    for place in (b"\x01", b"\x02", b"\x03", b"\x04", b"\x05"):
        assert pack_event(SAID + place, **IN_ROW) == pack(SAID + place)


def test_who_forgets_the_row_has_no_body() -> None:
    with pytest.raises(CannotUnpack, match="with its row"):
        unpack(PACKED_IN_ROW)
    with pytest.raises(KeyError):
        body_of({"id": "evt_1", "body": PACKED_IN_ROW, "created_at": AT})
    read = packing.StoredBody().process_result_value(PACKED_IN_ROW, postgresql.dialect())
    with pytest.raises(TypeError):
        bytes(read)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        b",".join([read])  # type: ignore[list-item]


def test_an_event_takes_a_tenth_of_its_room() -> None:
    """What its row says is not in it."""
    paid = replace(rows.payment(PaymentStatus.CAPTURED), created_at=MADE, updated_at=PAID)
    row = {"id_": rows.IDS.event(payment_id=paid.id, sequence=2, xid=1), "payment_id": paid.id}
    data = payment_view(paid)
    told = event_body(event_id=row["id_"], type_="payment.captured", at=PAID, sequence=2, data=data)
    stored = pack_event(told, **row, created_at=PAID)
    assert len(stored) * 10 < len(told)
    assert len(stored) + 50 < len(pack(told))


CARD = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2040}
METHODS: Final[list[dict[str, Any]]] = [
    {"type": "card", "card": CARD | {"token": "pm_1"}},
    {"type": "card", "card": {"last4": "4242", "brand": "visa", "exp_month": 12, "exp_year": 2040}},
    {"type": "card", "card": {"brand": "visa", "last4": "4242"}},
    {"type": "card", "card": list(CARD)},
    {"type": "card"},
    {"type": "wallet", "card": CARD},
    {"card": CARD, "type": "card"},
    {"type": "card", "card": CARD, "more": None},
    {"type": "upi", "upi": {"flow": "collect", "vpa": "asha@bank"}},
]


def test_a_card_is_a_list_of_what_it_says() -> None:
    method = {"type": "card", "card": CARD}
    stored = pack_method(method)
    assert json.dumps(stored) == '["card", "visa", "4242", 12, 2040]'
    assert encode(unpack_method(stored)) == encode(method)
    assert unpack_method(method) == method


@pytest.mark.parametrize("method", METHODS)
def test_another_method_is_kept_as_it_is(method: dict[str, Any]) -> None:
    """A card with other members, or in another order, as well: what the API shows has them so."""
    assert pack_method(method) is method
    assert encode(unpack_method(method)) == encode(method)


@pytest.mark.parametrize("stored", [["upi", "asha@bank"], ["card", "visa"], [], "card", None])
def test_another_release_s_method_is_not_guessed(stored: Any) -> None:
    with pytest.raises(CannotUnpack, match="of a later release"):
        unpack_method(stored)


def test_a_body_as_it_is_is_read_as_it_is() -> None:
    for body in (b"", b"{}", b'{"a":1}', b"[]", b"\n"):
        assert unpack(body) == body


def test_a_payment_s_event_and_answer_take_a_fourth_of_their_room() -> None:
    paid = rows.payment(PaymentStatus.CAPTURED)
    told = event_body(event_id="evt_a", type_="payment.captured", at=AT, sequence=2, data=payment_view(paid))
    failed = failed_answer(paid, failure_error(FailureCode.NOT_PROCESSED), request_id="req_1").body
    for body in (told, failed):
        assert len(pack(body)) * 4 < len(body)


@pytest.mark.parametrize("length", [1, 2, len(PACKED) // 2, len(PACKED) - 1])
def test_what_was_cut_off_is_no_body(length: int) -> None:
    with pytest.raises(CannotUnpack):
        unpack(PACKED[:length])


def test_what_has_something_behind_it_is_no_body() -> None:
    with pytest.raises(CannotUnpack):
        unpack(PACKED + b"}")


def test_another_dictionary_s_body_is_not_guessed() -> None:
    with pytest.raises(CannotUnpack, match="the form 3, of a later release"):
        unpack(b"\x03" + PACKED[1:])


def test_another_file_is_not_the_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing.Path, "read_bytes", lambda _: b"{}")
    with pytest.raises(RuntimeError, match=r"bodies-1\.txt is not the dictionary"):
        packing._read("bodies-1.txt", "0bd4")
