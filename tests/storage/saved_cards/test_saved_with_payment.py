"""A card that is saved with its payment: put with the claim, and active or gone with the recorded outcome."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from api.admission.requests import KeyInUse
from api.admission.waiting import Unavailable
from payonce.connectors.base import Capabilities
from payonce.domain.decisions import Verdict
from payonce.domain.errors import InvalidRequest, PaymentError
from payonce.domain.evidence import Evidence
from payonce.domain.facts import (
    ActionRequired,
    Cancelled,
    DeclineCode,
    Declined,
    Expired,
    Fact,
    FailureCode,
    NotProcessed,
    Pending,
    Refused,
    Reversed,
    Stage,
    Unknown,
    Unsent,
)
from payonce.domain.operations import AttemptState, Operation, Subject
from payonce.domain.payment import PaymentStatus
from payonce.vault.keys import FileKeys, VaultUnavailable, Wrapped
from tests.storage.acting import CAPABILITIES, FakeConnector
from tests.storage.deciding import decide
from tests.storage.ledger import Ledger
from tests.storage.saved_cards.saving_shop import (
    INDIAN,
    NETWORK,
    NUMBER,
    UNKNOWN,
    SavingShop,
    approved,
    saving,
)
from tests.storage.vault.saving import OLD, a_vault
from tests.support.rows import NOW

S, A = PaymentStatus, AttemptState
OF_INDIA = Evidence(issuer_country="IN")


class NoKeys(FileKeys):
    """A key server that nobody reaches."""

    def __init__(self) -> None:
        super().__init__(OLD)

    async def wrap(self, data_key: bytes, *, record_id: str) -> Wrapped:
        raise VaultUnavailable


def tokens(capabilities: Capabilities = CAPABILITIES) -> FakeConnector:
    """An acquirer that saves cards, and gives a token of its own for each."""
    return FakeConnector(capabilities=replace(capabilities, stored_credentials=frozenset({"token"})))


async def tokens_to_delete(shop: SavingShop) -> list[tuple[str, Any]]:
    """Of payment methods that nobody sees, for the sweeper, which looks at them now."""
    found = await shop.ledger.rows(
        "SELECT id, token FROM payment_methods JOIN credentials ON payment_method_id = id"
        " WHERE state = 'deleted' AND kind = 'acquirer_token' AND sweep_at <= clock_timestamp()"
    )
    return [(row.id, row.token) for row in found]


async def test_until_the_payment_is_approved_nobody_sees_the_card(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted(saving(customer={"id": "cus_1"}))
    (method,) = await shop.methods()
    (credential,) = await shop.credentials()
    assert (method["id"], method["state"], method["setup"]) == (shop.token(), "provisional", "off_session")
    assert (method["customer_id"], method["payment_id"], method["last4"]) == ("cus_1", create.id, "4242")
    assert method["sweep_at"] - method["created_at"] == timedelta(hours=24)
    assert credential["kind"] == "vaulted"
    assert await shop.vaulted() == [False]
    assert "token" not in (await ledger.payment(create.id)).payment_method["card"]
    assert await shop.told() == []


@pytest.mark.parametrize("automatic", [False, True])
async def test_with_the_approval_it_is_the_merchants(ledger: Ledger, automatic: bool) -> None:
    shop = SavingShop(ledger)
    await ledger.add_endpoint("payment_method.active")
    method = "automatic" if automatic else "manual"
    create = await shop.admitted(replace(saving(), capture_method=method))
    stage = Stage.CAPTURED if automatic else Stage.AUTHORIZED
    after = await shop.record(create, approved(create, evidence=NETWORK, stage=stage))
    assert after.payment_method["card"]["token"] == shop.token()
    (saved,) = await shop.methods()
    assert (saved["state"], saved["sweep_at"]) == ("active", None)
    assert await shop.vaulted() == [True]
    (credential,) = await shop.credentials()
    assert credential["network_transaction"] == {
        "scheme": "visa",
        "id": "483298341432324",
        "amount_minor": 1000,
        "currency": "INR",
        "on": "2026-11-22",
        "connector_account": "account_1",
    }
    assert await shop.told() == ["payment_method.active"]
    assert await ledger.count("webhook_deliveries") == 1


async def test_the_answer_and_each_event_since_show_the_token(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    await shop.record(create, Unknown("timeout"))
    await shop.record(create, approved(create))
    bodies = {
        row.type: json.loads(bytes(row.body)) for row in await ledger.rows("SELECT type, body FROM events")
    }
    assert "token" not in bodies["payment.processing"]["data"]["payment_method"]["card"]
    assert bodies["payment.authorized"]["data"]["payment_method"]["card"]["token"] == shop.token()
    told = bodies["payment_method.active"]
    assert (told["sequence"], told["data"]["id"], told["data"]["status"]) == (None, shop.token(), "active")
    (answered,) = await ledger.rows("SELECT answer_body AS body FROM idempotency_keys")
    assert json.loads(bytes(answered.body))["payment_method"]["card"]["token"] == shop.token()


@pytest.mark.parametrize(
    "fact",
    [
        Declined(DeclineCode.LOST_CARD),
        Refused("refused"),
        Expired(),
        Cancelled(),
        Reversed(),
        NotProcessed(FailureCode.NOT_PROCESSED),
    ],
    ids=lambda fact: fact.kind,
)
async def test_any_other_outcome_leaves_nothing_of_the_card(ledger: Ledger, fact: Fact) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    await shop.record(create, fact)
    assert (await ledger.payment(create.id)).status is S.FAILED
    assert (await shop.methods(), await shop.credentials(), await shop.vaulted()) == ([], [], [])
    for table in ("fingerprints", "fingerprint_hashes", "risk_saved"):
        assert await ledger.rows(f"SELECT 1 FROM vault.{table}") == []
    assert await shop.told() == []


@pytest.mark.parametrize("fact", [Unknown("timeout"), Pending(), Unsent()], ids=lambda fact: fact.kind)
async def test_it_stays_as_it_is_while_nothing_is_decided(ledger: Ledger, fact: Fact) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    await shop.record(create, fact)
    assert [one["state"] for one in await shop.methods()] == ["provisional"]
    assert await shop.vaulted() == [False]


async def test_a_challenge_keeps_it_and_its_success_saves_it(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    later = NOW.replace(year=2040)
    await shop.record(create, ActionRequired("acq-1", {"type": "redirect", "url": "https://x"}, later))
    assert (await ledger.payment(create.id)).status is S.REQUIRES_ACTION
    assert await shop.vaulted() == [False]
    await shop.record(create, approved(create))
    assert await shop.told() == ["payment_method.active"]


async def test_an_amount_that_nobody_asked_for_saves_no_card(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    await shop.record(create, replace(approved(create), amount_minor=1001))
    await shop.record(create, Reversed())
    assert (await ledger.payment(create.id)).last_error == {
        "code": "amount_mismatch",
        "decline_code": None,
        "message": FailureCode.AMOUNT_MISMATCH.message,
        "advice": None,
    }
    assert (await shop.methods(), await shop.vaulted()) == ([], [])


async def test_a_success_after_the_proof_of_failure_saves_no_card(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    await shop.record(create, NotProcessed(FailureCode.NOT_PROCESSED))
    await shop.record(create, approved(create))
    assert await shop.told("payment.late_success") == ["payment.late_success"]
    assert (await shop.methods(), await shop.told()) == ([], [])


async def test_recorded_again_and_at_once_it_is_told_of_once(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    await asyncio.gather(*(shop.record(create, approved(create)) for _ in range(10)))
    assert await shop.told() == ["payment_method.active"]
    assert await shop.vaulted() == [True]


@pytest.mark.parametrize(
    "ends", [("lost answer",), ("lost commit",), ("lost commit", "lost answer"), ("down",)]
)
@pytest.mark.parametrize("approves", [True, False])
async def test_a_commit_that_proves_nothing_is_made_again(
    ledger: Ledger, ends: tuple[str, ...], approves: bool
) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    fact: Fact = approved(create) if approves else Declined(DeclineCode.LOST_CARD)
    async with ledger.flaky(*ends) as database:
        await shop.record(create, fact, recorder=ledger.recorder(database))
    assert await shop.vaulted() == ([True] if approves else [])
    assert await shop.told() == (["payment_method.active"] if approves else [])


async def test_a_number_that_is_gone_by_then_costs_the_payment_nothing(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    await ledger.rows("UPDATE vault.cards SET erase_at = now()")
    after = await shop.record(create, approved(create))
    assert after.status is S.AUTHORIZED
    assert ("token" in after.payment_method["card"], after.stored) == (False, None)
    assert (await shop.methods(), await shop.told()) == ([], [])


async def test_a_row_that_was_swept_costs_the_payment_nothing(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    await ledger.rows("DELETE FROM credentials")
    await ledger.rows("DELETE FROM payment_methods")
    after = await shop.record(create, approved(create))
    assert (after.status, "token" in after.payment_method["card"]) == (S.AUTHORIZED, False)
    assert await shop.told() == []


async def test_a_card_that_the_acquirer_knows_to_be_indian_is_erased_at_once(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    after = await shop.record(create, approved(create, evidence=OF_INDIA))
    assert (after.status, "token" in after.payment_method["card"]) == (S.AUTHORIZED, False)
    assert (await shop.methods(), await shop.vaulted(), await shop.told()) == ([], [], [])
    ((_, payment_id),) = await shop.erasures_audited()
    assert payment_id == create.payment_id


@pytest.mark.parametrize(
    ("storage", "number"), [("none", NUMBER), ("none", INDIAN), ("vault", INDIAN), ("vault", UNKNOWN)]
)
async def test_what_may_not_be_saved_is_not_admitted(ledger: Ledger, storage: Any, number: str) -> None:
    shop = SavingShop(ledger, storage=storage)
    with pytest.raises(InvalidRequest) as refused:
        await shop.save(saving(number))
    assert (refused.value.problem_code, refused.value.pointer) == ("card_storage_refused", "/setup")
    assert [await ledger.count(table) for table in ("payments", "idempotency_keys", "payment_methods")] == [
        0
    ] * 3


async def test_an_acquirer_that_saves_no_cards_takes_none_to_save(ledger: Ledger) -> None:
    shop = SavingShop(ledger, storage="acquirer")
    with pytest.raises(InvalidRequest) as refused:
        await shop.save(saving(INDIAN))
    assert (refused.value.problem_code, refused.value.pointer) == ("payment_method_not_supported", "/setup")


async def test_an_acquirers_token_is_kept_with_the_approval(ledger: Ledger) -> None:
    shop = SavingShop(ledger, storage="acquirer", connector=tokens(), vault=None)
    create = await shop.admitted(saving(INDIAN))
    assert await shop.credentials() == []
    after = await shop.record(create, approved(create, token={"id": "tok_1"}, evidence=NETWORK))
    assert after.payment_method["card"]["token"] == shop.token()
    (credential,) = await shop.credentials()
    kept = (credential["kind"], credential["connector_account"], credential["token"])
    assert kept == ("acquirer_token", "account_1", {"id": "tok_1"})
    assert await shop.told() == ["payment_method.active"]
    assert await ledger.rows("SELECT 1 FROM vault.cards") == []


async def test_a_token_that_came_with_a_late_success_is_left_for_the_acquirer_to_delete(
    ledger: Ledger,
) -> None:
    shop = SavingShop(ledger, storage="acquirer", connector=tokens(), vault=None)
    create = await shop.admitted()
    await shop.record(create, NotProcessed(FailureCode.NOT_PROCESSED))
    for _ in range(2):
        await shop.record(create, approved(create, token={"id": "tok_1"}))
    assert await tokens_to_delete(shop) == [(shop.token(), {"id": "tok_1"})]
    assert (await ledger.payment(create.id)).status is S.FAILED
    assert await shop.told() == []


async def test_a_token_of_another_amount_is_left_for_the_acquirer_to_delete(ledger: Ledger) -> None:
    shop = SavingShop(ledger, storage="acquirer", connector=tokens(), vault=None)
    create = await shop.admitted()
    for _ in range(2):
        await shop.record(create, replace(approved(create, token={"id": "tok_1"}), amount_minor=1001))
    assert [one["state"] for one in await shop.methods()] == ["provisional"]
    await shop.record(create, Reversed())
    assert await tokens_to_delete(shop) == [(shop.token(), {"id": "tok_1"})]
    assert (await ledger.rows("SELECT 1 FROM vault.risk_saved"), await shop.told()) == ([], [])


async def test_a_token_that_comes_when_its_card_was_swept_is_left_for_the_acquirer_to_delete(
    ledger: Ledger,
) -> None:
    shop = SavingShop(ledger, storage="acquirer", connector=tokens(), vault=None)
    create = await shop.admitted()
    await ledger.rows("DELETE FROM payment_methods")
    for _ in range(2):
        after = await shop.record(create, approved(create, token={"id": "tok_1"}))
    assert (after.status, "token" in after.payment_method["card"]) == (S.AUTHORIZED, False)
    assert await tokens_to_delete(shop) == [(shop.token(), {"id": "tok_1"})]
    assert await shop.told() == []


async def test_a_token_that_came_with_another_amount_first_is_kept_once(ledger: Ledger) -> None:
    shop = SavingShop(ledger, storage="acquirer", connector=tokens(), vault=None)
    create = await shop.admitted()
    await shop.record(create, replace(approved(create, token={"id": "tok_1"}), amount_minor=1001))
    await ledger.rows("UPDATE attempts SET state = 'unknown', failure_code = NULL")
    await shop.record(create, approved(create, token={"id": "tok_1"}))
    assert [one["state"] for one in await shop.methods()] == ["active"]
    assert [one["token"] for one in await shop.credentials()] == [{"id": "tok_1"}]


async def test_an_approval_without_a_token_saves_nothing(ledger: Ledger) -> None:
    shop = SavingShop(ledger, storage="acquirer", connector=tokens(), vault=None)
    create = await shop.admitted()
    after = await shop.record(create, approved(create))
    assert (after.status, "token" in after.payment_method["card"]) == (S.AUTHORIZED, False)
    assert (await shop.methods(), await shop.told()) == ([], [])


async def test_without_its_keys_nothing_is_admitted(ledger: Ledger) -> None:
    for vault in (None, a_vault(NoKeys())):
        shop = SavingShop(ledger, vault=vault)
        with pytest.raises(PaymentError) as refused:
            await shop.save()
        assert refused.value.code == "unavailable"
    assert [await ledger.count(table) for table in ("payments", "idempotency_keys", "payment_methods")] == [
        0
    ] * 3


async def test_without_its_keys_a_known_key_is_answered_as_before(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    await shop.record(create, approved(create))
    again = await SavingShop(ledger, vault=a_vault(NoKeys())).save()
    assert again.replayed
    assert again.answer is not None
    assert json.loads(again.answer.body)["payment_method"]["card"]["token"] == shop.token()


async def test_what_is_refused_by_now_is_answered_as_before(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    await shop.record(create, approved(create))
    assert (await SavingShop(ledger, storage="none").save()).replayed


async def test_too_many_numbers_in_an_hour_are_not_admitted(ledger: Ledger) -> None:
    shop = SavingShop(ledger, vault=a_vault(saves_max=1))
    await shop.admitted()
    await shop.admitted(key="the same number again")
    with pytest.raises(PaymentError) as refused:
        await shop.save(saving("4000000000000077"), key="another number")
    assert refused.value.code == "rate_limited"
    assert await ledger.count("payments") == 2
    assert await shop.vaulted() == [False, False]


async def test_a_create_that_was_given_back_puts_no_second_number(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    await shop.record(create, Unsent())
    again = await shop.admitted()
    assert (await ledger.latest(create.id)).number == 2
    assert (len(await shop.methods()), await shop.vaulted()) == (1, [False])
    await shop.record(again, approved(again))
    assert (await shop.told(), await shop.vaulted()) == (["payment_method.active"], [True])


async def test_an_admission_that_did_not_hold_leaves_no_number(ledger: Ledger) -> None:
    async with ledger.flaky("lost commit") as database:
        with pytest.raises(Unavailable):
            await SavingShop(ledger, database=database).save()
    assert await ledger.count("payment_methods") == 0
    assert await ledger.rows("SELECT 1 FROM vault.cards") == []
    assert await ledger.rows("SELECT 1 FROM vault.saves") == []


async def test_two_requests_at_once_put_one_number(ledger: Ledger) -> None:
    shops = [SavingShop(ledger), SavingShop(ledger)]
    ended = await asyncio.gather(*(shop.admitted() for shop in shops), return_exceptions=True)
    admitted = [one for one in ended if isinstance(one, Operation)]
    assert len(admitted) == 1
    assert all(isinstance(one, KeyInUse | AssertionError | Operation) for one in ended)
    assert (len(await shops[0].methods()), await shops[0].vaulted()) == (1, [False])


async def test_the_number_is_nowhere_in_clear(ledger: Ledger) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    await shop.record(create, approved(create, evidence=NETWORK))
    tables = await ledger.rows(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    for table in tables:
        (held,) = await ledger.rows(
            f"SELECT count(*) AS n FROM {table.name} AS row WHERE row::text LIKE :number"
            " OR row::text LIKE :hex",
            number=f"%{NUMBER}%",
            hex=f"%{NUMBER.encode().hex()}%",
        )
        assert held.n == 0, table.name


async def test_a_payment_without_a_saved_card_reads_nothing_of_them(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: Any) -> Any:
        raise AssertionError("a saved card was looked for")

    monkeypatch.setattr("payonce.storage.payment_methods.locked", read)
    monkeypatch.setattr("payonce.vault.doors.keep", read)
    shop = SavingShop(ledger)
    create = await shop.admitted(saving(setup=None))
    await shop.record(create, approved(create))
    assert (await ledger.payment(create.id)).stored is None


@pytest.mark.parametrize("there", [True, False])
async def test_what_a_person_decides_counts_as_the_acquirers_word(ledger: Ledger, there: bool) -> None:
    shop = SavingShop(ledger)
    create = await shop.admitted()
    await shop.record(create, Unknown("timeout"))
    await ledger.recorder().review(Subject(create.payment_id, create.id), reason="unknown")
    await ledger.rows(
        "UPDATE attempts SET claimed_at = claimed_at - interval '1 day', send_before = send_before - interval '1 day'"
    )
    if not there:
        await ledger.rows("UPDATE vault.cards SET erase_at = now()")
    taken = await decide(ledger, create, Verdict.APPROVED, amount_minor=1000, reference="acq-1")
    assert ("token" in taken.payment.payment_method["card"]) is there
    assert await shop.told() == ["payment_method.active"] * there
