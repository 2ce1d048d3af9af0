"""Bodies come back byte for byte, whatever they are, and what this release packed is read for ever."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payonce.domain.answers import event_body, failed_answer, failure_error, payment_view
from payonce.domain.facts import FailureCode
from payonce.domain.payment import PaymentStatus
from payonce.storage import packing
from payonce.storage.packing import CannotUnpack, pack, unpack
from tests.support import rows

AT = datetime(2027, 1, 31, 12, tzinfo=UTC)
BODY = (
    b'{"id":"evt_1","type":"payment.captured","sequence":2,"data":{"object":"payment","status":"captured"}}'
)
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
    with pytest.raises(CannotUnpack, match="the dictionary 2, of a later release"):
        unpack(b"\x02" + PACKED[1:])


def test_another_file_is_not_the_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing.Path, "read_bytes", lambda _: b"{}")
    with pytest.raises(RuntimeError, match=r"bodies-1\.txt is not the dictionary"):
        packing._read()
