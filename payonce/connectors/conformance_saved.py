"""What a connector must show whose acquirer keeps cards as tokens of its own: tests to inherit, as `conformance`.

    class TestOurCards(ConnectorConformance, SavedCardConformance): ...

For those that declare `token` in `stored_credentials`; `conformance_declared` says so. Needs pytest-asyncio.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final, cast

import pytest

from payonce.connectors.base import Call, Connector, Storing
from payonce.connectors.conformance import ConformanceHarness, Fault, authorization, eventually, yes
from payonce.domain.errors import ConnectorError, OutcomeUnknown
from payonce.domain.facts import Approved, Declined, Refused
from payonce.domain.payment_methods import CredentialKind, Reason, Setup, StoredCredential

SAVED: Final = "pm_conformance"


class SavedCardConformance:
    """A card is kept with the approval of its payment, paid with by its token, and deleted."""

    @pytest.mark.parametrize("setup", Setup)
    async def test_a_card_is_kept_with_its_approval_and_its_token_is_found_again(
        self, harness: ConformanceHarness, setup: Setup
    ) -> None:
        connector, call = harness.open(), saving(authorization(harness), setup)
        token = await token_given(connector, call)
        found = await connector.inquire(call)
        assert isinstance(found, Approved)
        assert found.token == token
        assert not any(value in repr(found) for value in token.values() if value != call.reference)

    async def test_a_token_whose_answer_was_lost_is_found(self, harness: ConformanceHarness) -> None:
        connector = harness.open()
        call = harness.faulty(saving(authorization(harness)), Fault.TIMEOUT_AFTER)
        with pytest.raises(OutcomeUnknown):
            await connector.send(call, may_send=yes)

        async def found() -> Approved:
            outcome = await connector.inquire(call)
            assert isinstance(outcome, Approved)
            return outcome

        token = (await eventually(found)).token
        assert token
        assert isinstance(await connector.send(paying(harness, token), may_send=yes), Approved)

    async def test_a_card_that_nobody_wants_kept_has_no_token(self, harness: ConformanceHarness) -> None:
        connector, call = harness.open(), authorization(harness)
        reply = await connector.send(call, may_send=yes)
        assert isinstance(reply, Approved)
        assert not reply.token

    @pytest.mark.parametrize("reason", [None, "recurring", "unscheduled"])
    async def test_it_is_paid_with_by_its_token_alone_and_moves_once(
        self, harness: ConformanceHarness, reason: Reason | None
    ) -> None:
        connector = harness.open()
        token = await token_given(connector, saving(authorization(harness)))
        call = paying(harness, token, reason)
        reply = await connector.send(call, may_send=yes)
        assert isinstance(reply, Approved)
        assert (reply.amount_minor, reply.currency) == (call.amount_minor, call.currency)
        found = await connector.inquire(call)
        assert isinstance(found, Approved)
        assert found.connector_reference == reply.connector_reference
        assert list(await harness.movements(call.payment_id)).count("authorize") == 1

    async def test_what_is_deleted_pays_nothing_and_may_be_deleted_again(
        self, harness: ConformanceHarness
    ) -> None:
        connector = harness.open()
        token = await token_given(connector, saving(authorization(harness)))
        for _ in range(2):
            await storing(connector).delete_token(token)
        call = paying(harness, token, "recurring")
        with suppress(OutcomeUnknown):  # an acquirer may have no word for it
            assert isinstance(await connector.send(call, may_send=yes), Declined | Refused)
        assert list(await harness.movements(call.payment_id)) == []

    async def test_deleting_out_of_reach_is_an_error_and_no_confirmation(
        self, harness: ConformanceHarness
    ) -> None:
        token = await token_given(harness.open(), saving(authorization(harness)))
        with pytest.raises(ConnectorError):
            await storing(harness.open_unreachable()).delete_token(token)
        reply = await harness.open().send(paying(harness, token), may_send=yes)
        assert isinstance(reply, Approved)


def saving(call: Call, setup: Setup = Setup.OFF_SESSION) -> Call:
    """The call, whose card the acquirer is to keep."""
    stored = StoredCredential(token=SAVED, saves=True, setup=setup, credential=CredentialKind.OF_ACQUIRER)
    return replace(call, stored=stored)


def paying(harness: ConformanceHarness, token: Mapping[str, str], reason: Reason | None = None) -> Call:
    """A new payment's authorization by the token. With a reason: while nobody is there."""
    stored = StoredCredential(token=SAVED, reason=reason, credential=CredentialKind.OF_ACQUIRER)
    return replace(authorization(harness), card=None, token=token, stored=stored)


async def token_given(connector: Connector, call: Call) -> Mapping[str, str]:
    """The token that comes with the approval of the call."""
    reply = await connector.send(call, may_send=yes)
    assert isinstance(reply, Approved)
    assert reply.token
    return reply.token


def storing(connector: Connector) -> Storing:
    """The connector, as one whose acquirer keeps cards."""
    return cast("Storing", connector)
