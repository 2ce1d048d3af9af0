"""Paying with a saved card, from its admission to what the acquirer is sent, over a real Postgres."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from activities.messages import InquiryDue, NothingSent, Settled
from api.admission.posts import CreatePost
from api.admission.requests import NewPayment
from api.admission.transaction import Admitted, Taking
from api.admission.waiting import Unavailable
from payonce.clock import boot_clock_s
from payonce.domain.cards import Card
from payonce.domain.errors import InvalidRequest, NotSent, OutcomeUnknown
from payonce.domain.facts import Approved, DeclineCode, Declined, Stage
from payonce.domain.operations import AttemptState, OperationKind
from payonce.domain.payment import PaymentStatus
from payonce.domain.payment_methods import CredentialKind, SavedState, Setup
from payonce.domain.sca import HandedIn, Sca
from payonce.paying import Numbers, Takes
from payonce.storage import payment_methods
from payonce.storage.driver.database import Database
from payonce.storage.driver.wire import Wire
from payonce.vault import doors
from payonce.vault.envelope import VaultPlace
from payonce.vault.keys import VaultUnavailable, Wrapped
from payonce.vault.saving import CARD
from tests.storage.acting import Process
from tests.storage.admitting import NEW, NoTemporal, post
from tests.storage.ledger import Ledger
from tests.storage.paying_saved import (
    FIRST,
    TAKES_SAVED,
    Acquirer,
    SavingShop,
    by,
    saved,
    taken,
)
from tests.storage.vault.saving import NUMBER, a_vault

A, K, S = AttemptState, OperationKind, PaymentStatus
APPROVED = Approved("acq-1", 1000, "INR", stage=Stage.CAPTURED)
CAVV = HandedIn(version="2.2.0", trans_status="Y", eci="05", cavv="A" * 28, ds_transaction_id="d" * 36)
CARD_OF_METHOD = Card(NUMBER, 12, 2040)
UNATTENDED: dict[str, Any] = {"off_session": True, "reason": "recurring"}
ASKING = replace(TAKES_SAVED, needs_action=True, challenge_ends="cancelled", soft_decline="resend")


class KeysAway:
    """Key-encryption keys that nobody reaches."""

    async def wrap(self, _data_key: bytes, *, record_id: str) -> Wrapped:
        raise VaultUnavailable

    async def unwrap(self, _wrapped: Wrapped, *, record_id: str) -> bytes:
        raise VaultUnavailable

    async def newest(self) -> str:
        raise VaultUnavailable

    async def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def shop(shared_ledger: Ledger) -> SavingShop:
    return SavingShop(shared_ledger, Acquirer(answers={"send": APPROVED}))


async def test_the_number_is_taken_for_the_one_call_and_kept_nowhere(shop: SavingShop) -> None:
    card = await saved(shop.ledger)
    request = await shop.admitted(by(card))
    assert isinstance(await shop.run(), Settled)
    body = json.loads((await request).answer.body)  # type: ignore[union-attr]
    (sent,) = shop.connector.sent
    assert sent.card == CARD_OF_METHOD
    assert sent.token is None
    assert body["payment_method"] == {
        "type": "card",
        "card": {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2040, "token": card.id},
    }
    assert NUMBER not in repr(sent)
    (entry,) = [one for one in await taken(shop.ledger) if one[0] == await record_of(shop.ledger, card.id)]
    assert entry[1] == "on_session"


async def test_an_acquirers_token_is_paid_with_at_its_account_and_needs_no_vault(
    shared_ledger: Ledger,
) -> None:
    card = await saved(shared_ledger, tokens_at=("account_1",), vaulted=False)
    shop = SavingShop(shared_ledger, Acquirer(answers={"send": APPROVED}), vault=None)
    request = await shop.admitted(by(card, **UNATTENDED))
    assert isinstance(await shop.run(), Settled)
    await request
    (sent,) = shop.connector.sent
    assert (sent.card, sent.token, sent.network_transaction) == (None, {"token": "tok_account_1"}, None)
    assert sent.stored is not None
    assert sent.stored.credential is CredentialKind.OF_ACQUIRER


async def test_an_accounts_own_token_comes_before_the_number(shop: SavingShop) -> None:
    card = await saved(shop.ledger, tokens_at=("account_1",))
    await shop.admitted(by(card))
    await shop.run()
    assert shop.connector.sent[0].card is None


async def test_a_token_of_another_account_is_taken_nowhere(shop: SavingShop) -> None:
    card = await saved(shop.ledger, tokens_at=("account_2",), vaulted=False)
    with pytest.raises(InvalidRequest) as refused:
        await shop.pay(by(card))
    assert refused.value.problem_code == "payment_method_not_supported"
    assert refused.value.pointer == "/payment_method/token"


@pytest.mark.parametrize(
    "changes",
    [
        {"state": SavedState.PROVISIONAL},
        {"mode": "live"},
        {"customer_id": "somebody"},
        {"merchant_id": "mer_other"},
    ],
)
async def test_what_this_merchant_may_not_pay_with_is_as_if_unknown(
    shop: SavingShop, changes: dict[str, Any]
) -> None:
    if "merchant_id" in changes:
        await shop.ledger.rows(
            "INSERT INTO merchants (id, name, created_at) VALUES ('mer_other', 'other', now())"
            " ON CONFLICT DO NOTHING"
        )
    card = await saved(shop.ledger, **changes)
    for new in (by(card), by(card, customer={"id": "another"}), by(replace(card, id="pm_\x00"))):
        with pytest.raises(InvalidRequest) as refused:
            await shop.pay(new)
        assert (refused.value.problem_code, refused.value.pointer) == (
            "invalid_request",
            "/payment_method/token",
        )
        assert str(refused.value.message) == "There is no such payment method."


async def test_a_deleted_card_is_as_if_unknown(shop: SavingShop) -> None:
    card = await saved(shop.ledger)
    await delete(shop.ledger, card.id)
    with pytest.raises(InvalidRequest) as refused:
        await shop.pay(by(card))
    assert refused.value.pointer == "/payment_method/token"


async def test_its_customer_pays_with_it(shop: SavingShop) -> None:
    card = await saved(shop.ledger, customer_id="c-7")
    await shop.admitted(by(card, customer={"id": "c-7"}))
    assert isinstance(await shop.run(), Settled)


async def test_a_card_whose_month_is_over_is_refused(shop: SavingShop) -> None:
    card = await saved(shop.ledger, exp_year=2020)
    with pytest.raises(InvalidRequest) as refused:
        await shop.pay(by(card))
    assert refused.value.problem_code == "card_expired"


async def test_off_session_needs_what_was_set_up_for_it(shop: SavingShop) -> None:
    card = await saved(shop.ledger, setup=Setup.ON_SESSION)
    with pytest.raises(InvalidRequest) as refused:
        await shop.pay(by(card, **UNATTENDED))
    assert refused.value.pointer == "/off_session"


async def test_a_card_issued_in_india_is_debited_by_a_mandate_only(shop: SavingShop) -> None:
    card = await saved(shop.ledger, issuer_country="IN")
    with pytest.raises(InvalidRequest) as refused:
        await shop.pay(by(card, **UNATTENDED))
    assert refused.value.problem_code == "payment_method_not_supported"
    shop.connector.capabilities = replace(TAKES_SAVED, mandates=True)
    await shop.admitted(by(card, **UNATTENDED))


async def test_a_merchants_payment_says_why_and_what_the_scheme_said_first(shop: SavingShop) -> None:
    card = await saved(shop.ledger)
    await shop.admitted(by(card, **UNATTENDED))
    await shop.run()
    (sent,) = shop.connector.sent
    assert sent.network_transaction == FIRST
    assert sent.stored is not None
    assert sent.stored.reason == "recurring"
    assert (await record_of(shop.ledger, card.id), "recurring") in await taken(shop.ledger)


async def test_the_audit_log_says_for_whom_and_from_where_a_number_is_taken(shop: SavingShop) -> None:
    card = await saved(shop.ledger)
    await shop.admitted(by(card))
    await shop.run()
    (entry,) = await shop.ledger.rows(
        "SELECT actor_kind, actor, members FROM audit.entries JOIN audit.personal ON entry_id = id"
        " WHERE action = 'card.taken' AND subject = :record",
        record=await record_of(shop.ledger, card.id),
    )
    assert tuple(entry) == ("api_key", "key_1", {"origin": "192.0.2.7"})


async def test_where_the_keys_are_away_any_run_goes_on_and_the_answer_is_202(shared_ledger: Ledger) -> None:
    """The next attempts are made by another process, which reaches them."""
    card = await saved(shared_ledger)
    shop = SavingShop(
        shared_ledger, Acquirer(answers={"send": APPROVED}), NoTemporal(), vault=a_vault(KeysAway())
    )
    result = await shop.pay(by(card, personal=NEW.personal))
    assert result.current is not None
    assert json.loads(result.current)["status"] == "processing"
    progress = await shop.run()
    assert progress == NothingSent("not_sent", may_retry=True, patient=True)
    assert shop.connector.sent == []
    number, state = await shop.latest()
    assert state is A.NOT_SENT
    other = SavingShop(shared_ledger, shop.connector, key=shop.key)
    assert isinstance(await other.run(), Settled)
    assert [call.reference for call in shop.connector.sent] == [f"{shop.payment_id}-{number + 1}"]
    assert len(
        [one for one in await taken(shared_ledger) if one[0] == await record_of(shared_ledger, card.id)]
    ) == (number + 1)


async def test_while_the_keys_are_away_a_raw_card_goes_on(shared_ledger: Ledger) -> None:
    shop = SavingShop(shared_ledger, Acquirer(answers={"send": APPROVED}), vault=a_vault(KeysAway()))
    await shop.admitted(NEW)
    assert isinstance(await shop.run(), Settled)


async def test_when_the_time_is_over_it_was_never_processed(shared_ledger: Ledger) -> None:
    card = await saved(shared_ledger)
    shop = SavingShop(shared_ledger, Acquirer(), NoTemporal(), vault=a_vault(KeysAway()))
    await shop.pay(by(card))
    await shop.run()
    create = await shared_ledger.operation(shop.payment_id)
    await Process(shared_ledger, shop.connector).resolve("give_up", create)
    paid = await shared_ledger.payment(shop.payment_id)
    assert paid.status is S.FAILED
    assert paid.last_error is not None
    assert paid.last_error["code"] == "not_processed"


async def test_with_a_security_code_it_is_given_back_and_its_key_goes_on(shared_ledger: Ledger) -> None:
    card = await saved(shared_ledger)
    new = by(card, cvc="123")
    shop = SavingShop(shared_ledger, Acquirer(answers={"send": APPROVED}), NoTemporal())
    with pytest.raises(Unavailable):
        await shop.pay(new)
    again = SavingShop(shared_ledger, shop.connector, key=shop.key)
    await again.admitted(new, number=2)
    assert isinstance(await again.run(), Settled)
    assert shop.connector.sent[0].card == replace(CARD_OF_METHOD, cvc="123")
    kept = await shared_ledger.rows(
        "SELECT stored_credential AS kept FROM payments WHERE id = :id", id=shop.payment_id
    )
    assert '"123"' not in json.dumps(kept[0].kept)


async def test_an_authentication_made_elsewhere_lives_in_memory(shared_ledger: Ledger) -> None:
    card = await saved(shared_ledger)
    takes_all = replace(TAKES_SAVED, three_ds=frozenset({"merchant"}))
    connector = Acquirer(answers={"send": APPROVED}, capabilities=takes_all)
    shop = SavingShop(shared_ledger, connector, NoTemporal())
    with pytest.raises(Unavailable):
        await shop.pay(by(card, authentication=CAVV))


async def test_the_card_is_sent_once_per_claim_and_never_by_who_did_not_claim(shop: SavingShop) -> None:
    """Another process finds the claim without an outcome: it inquires, whatever it could take."""
    card = await saved(shop.ledger)
    await shop.admitted(by(card))
    other = SavingShop(shop.ledger, shop.connector, key=shop.key)
    assert (await other.run()).kind == "not_owner"
    assert shop.connector.sent == []
    assert isinstance(await shop.run(), Settled)
    assert isinstance(await other.run(), Settled)
    assert len(shop.connector.sent) == 1


async def test_an_unknown_outcome_is_inquired_about_and_not_sent_again(shop: SavingShop) -> None:
    card = await saved(shop.ledger)
    shop.connector.answers["send"] = OutcomeUnknown()
    await shop.admitted(by(card))
    assert isinstance(await shop.run(), InquiryDue)
    assert isinstance(await SavingShop(shop.ledger, shop.connector, key=shop.key).run(), InquiryDue)
    assert len(shop.connector.sent) == 1


async def erased(ledger: Ledger, token: str) -> None:
    """The number is gone."""
    record = await record_of(ledger, token)
    async with ledger.database.transaction() as connection:
        assert await doors.erase(connection, VaultPlace(record, ledger.merchant_id, "test", CARD))


async def credential_gone(ledger: Ledger, token: str) -> None:
    await ledger.rows("DELETE FROM credentials WHERE payment_method_id = :id", id=token)


async def swapped(ledger: Ledger, token: str) -> None:
    """Another card's ciphertext and key lie in its row."""
    other = await record_of(ledger, (await saved(ledger, number="4000000000000002")).id)
    await ledger.rows(
        "WITH o AS (UPDATE vault.cards SET data_key_id = id WHERE id = :other RETURNING old.*)"
        " UPDATE vault.cards c SET ciphertext = o.ciphertext, data_key_id = o.data_key_id,"
        " wrapped_key = o.wrapped_key, key_id = o.key_id FROM o WHERE c.id = :id",
        id=await record_of(ledger, token),
        other=other,
    )


async def ciphertext_swapped(ledger: Ledger, token: str) -> None:
    """The key is the row's own."""
    other = await record_of(ledger, (await saved(ledger, number="4000000000000002")).id)
    await ledger.rows(
        "UPDATE vault.cards c SET ciphertext = o.ciphertext FROM vault.cards o WHERE c.id = :id AND o.id = :other",
        id=await record_of(ledger, token),
        other=other,
    )


async def other_mode(ledger: Ledger, token: str) -> None:
    await ledger.rows(
        "UPDATE vault.cards SET mode = 'live' WHERE id = :id", id=await record_of(ledger, token)
    )


async def other_tenant(ledger: Ledger, token: str) -> None:
    """The credential names another merchant's record."""
    await ledger.rows(
        "INSERT INTO merchants (id, name, created_at) VALUES ('mer_other', 'other', now()) ON CONFLICT DO NOTHING"
    )
    other = await record_of(ledger, (await saved(ledger, merchant_id="mer_other")).id)
    await ledger.rows(
        "UPDATE credentials SET vault_record = :other WHERE payment_method_id = :id", id=token, other=other
    )


@pytest.mark.parametrize(
    "lose",
    [erased, credential_gone, swapped, ciphertext_swapped, other_mode, other_tenant],
    ids=lambda one: one.__name__,
)
async def test_a_number_that_is_gone_or_does_not_open_is_never_sent(
    shop: SavingShop, lose: Callable[[Ledger, str], Any]
) -> None:
    card = await saved(shop.ledger)
    shop.connector.answers["send"] = NotSent()
    await shop.admitted(by(card))
    await shop.run()
    shop.connector.sent.clear()
    await lose(shop.ledger, card.id)  # the next attempt's claim looks anew
    assert isinstance(await shop.run(), Settled)
    assert shop.connector.sent == []
    paid = await shop.ledger.payment(shop.payment_id)
    assert paid.last_error is not None
    assert (paid.status, paid.last_error["code"]) == (S.FAILED, "card_data_lost")


async def test_a_payment_that_was_admitted_before_the_deletion_goes_on(shop: SavingShop) -> None:
    card = await saved(shop.ledger)
    shop.connector.answers["send"] = NotSent()
    await shop.admitted(by(card))
    await shop.run()
    await delete(shop.ledger, card.id)
    shop.connector.answers["send"] = APPROVED
    assert isinstance(await shop.run(), Settled)
    assert (await shop.ledger.payment(shop.payment_id)).status is S.CAPTURED


async def test_whose_login_may_not_send_does_not_take(shop: SavingShop, module_database_url: str) -> None:
    """The relay's and the console's are no members of the role that takes."""
    await shop.ledger.rows(
        "DO $$ BEGIN CREATE ROLE a_relay LOGIN PASSWORD 'r'; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    )
    card = await saved(shop.ledger)
    await shop.admitted(by(card))
    url = module_database_url.replace("postgres@", "a_relay:r@").replace("postgres:postgres@", "a_relay:r@")
    assert "a_relay" in url
    relay = Database(url, pool_size=1)
    try:
        shop.numbers = Numbers(relay, a_vault())
        assert isinstance(await shop.run(), NothingSent)
    finally:
        await relay.close()
    assert shop.connector.sent == []


async def test_a_soft_decline_is_stepped_up_on_session_with_the_number_taken_again(shop: SavingShop) -> None:
    card = await saved(shop.ledger)
    shop.connector.capabilities = ASKING
    shop.connector.answers["send"] = Declined(DeclineCode.AUTHENTICATION_REQUIRED, "acq-1", soft=True)
    await shop.admitted(by(card))
    await shop.run()
    assert [call.card for call in shop.connector.sent] == [CARD_OF_METHOD] * 2
    assert shop.connector.sent[1].sca == Sca(challenge="force")
    record = await record_of(shop.ledger, card.id)
    assert [one for one in await taken(shop.ledger) if one[0] == record] == [(record, "on_session")] * 2


async def test_a_payment_by_a_token_costs_one_round_trip_more_to_admit_and_two_to_send(
    shop: SavingShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row and its credentials in one; then the number, in a transaction that only reads: no COMMIT that waits."""
    card = await saved(shop.ledger)
    exchanges: list[tuple[Wire, int]] = []
    exchange = Wire.exchange

    async def counted(self: Wire, commands: Any) -> Any:
        exchanges.append((self, len(commands)))
        return await exchange(self, commands)

    async def admitting(new: NewPayment) -> list[int]:
        """The statements of each round trip before the COMMIT."""
        one = SavingShop(shop.ledger, shop.connector)
        create = CreatePost(
            runtime=one.runtime, post=post(one.ledger, one.key), new=new, deadline=boot_clock_s() + 5
        )
        async with shop.ledger.database.transaction() as connection:
            exchanges.clear()
            assert isinstance(await create.admit(connection, Taking()), Admitted)
            return [sent for wire, sent in exchanges if wire is connection._wire]

    monkeypatch.setattr(Wire, "exchange", counted)
    plain, by_token = await admitting(NEW), await admitting(by(card))
    assert by_token == [*plain, 2]
    place = VaultPlace(await record_of(shop.ledger, card.id), shop.ledger.merchant_id, "test", CARD)
    alone = Database(shop.ledger.url, pool_size=1)
    try:
        numbers = Numbers(alone, a_vault())
        takes = Takes(place=place, exp_month=12, exp_year=2040)
        assert isinstance(await numbers.taken(takes), Card)  # opens the connection
        exchanges.clear()
        assert isinstance(await numbers.taken(takes), Card)
        (sender,) = {wire for wire, sent in exchanges if sent == 3}
        assert [sent for wire, sent in exchanges if wire is sender] == [3, 1]  # BEGIN, role, number; the end
    finally:
        await alone.close()


async def record_of(ledger: Ledger, token: str) -> str:
    async with ledger.database.reading() as connection:
        (found,) = [
            one
            for one in await connection.fetch(payment_methods.credentials_of(token))
            if one.kind is CredentialKind.VAULTED
        ]
    assert found.vault_record is not None
    return found.vault_record


async def delete(ledger: Ledger, token: str) -> None:
    await ledger.rows(
        "UPDATE payment_methods SET state = 'deleted', deleted_at = now() WHERE id = :id", id=token
    )
