"""Idempotency keys at the sandbox's Adyen. Source: development-resources/api-idempotency."""

import asyncio

from adyen_side import AdyenSide, done, refused

from tests.support.eventually import eventually


async def test_the_same_key_answers_what_was_answered(adyen: AdyenSide) -> None:
    reference = adyen.new()
    body = adyen.payment(reference)
    first = await adyen.post("/payments", body, key="key-same")
    second = await adyen.post("/payments", body, key="key-same")
    assert done(first) == done(second)
    assert second.headers["idempotency-key"] == "key-same"
    assert await adyen.moved(reference) == [("authorize", 1099)]
    await adyen.webhooks.has(reference, "AUTHORISATION")


async def test_another_key_pays_again_also_with_the_same_reference(adyen: AdyenSide) -> None:
    reference = adyen.new()
    body = adyen.payment(reference)
    first = done(await adyen.post("/payments", body, key="key-first"))
    second = done(await adyen.post("/payments", body, key="key-second"))
    assert first["pspReference"] != second["pspReference"]
    assert await adyen.moved(reference) == [("authorize", 1099)] * 2


async def test_modifications_have_keys_too(adyen: AdyenSide) -> None:
    reference = adyen.new()
    psp = (await adyen.paid(adyen.payment(reference)))["pspReference"]
    money = {"currency": "USD", "value": 500}
    body = {"merchantAccount": "AcmeECOM", "reference": adyen.new(), "amount": money}
    path = f"/payments/{psp}/captures"
    first = done(await adyen.post(path, body, key="key-capture"), 201)
    assert done(await adyen.post(path, body, key="key-capture"), 201) == first
    assert await adyen.moved(reference) == [("authorize", 1099), ("capture", 500)]


async def test_a_key_that_is_in_use_is_refused_for_now(adyen: AdyenSide) -> None:
    reference = adyen.new()
    body = adyen.payment(reference, metadata={"sandbox_fault": "slow:3000"})
    first = asyncio.create_task(adyen.post("/payments", body, key="key-busy"))

    async def is_received() -> bool:
        return bool(await adyen.acquirer.requests(reference=reference))

    await eventually(is_received, 60)
    second = await adyen.post("/payments", body, key="key-busy")
    answer = done(await first)
    if second.status_code != 200:  # on a machine that is so slow that the first was done, it is its answer
        refused(second, 422)
        assert second.headers["transient-error"] == "true"
    assert done(await adyen.post("/payments", body, key="key-busy")) == answer
    assert await adyen.moved(reference) == [("authorize", 1099)]


async def test_keys_are_a_companys(adyen: AdyenSide) -> None:
    other_key = "another-company-s-key-0001"
    code = await adyen.set_up(id="BravoECOM", company="Bravo", api_keys=[other_key])
    reference = adyen.new()
    mine = adyen.payment(reference)
    done(await adyen.post("/payments", mine, key="key-shared"))
    theirs = {**mine, "merchantAccount": code}
    done(await adyen.post("/payments", theirs, key="key-shared", api_key=other_key))
    assert await adyen.moved(reference) == [("authorize", 1099)] * 2


async def test_a_key_is_forgotten_when_its_time_has_passed(adyen: AdyenSide) -> None:
    reference = adyen.new()
    body = adyen.payment(reference)
    first = done(await adyen.post("/payments", body, key="key-old"))

    async def is_another() -> bool:
        again = done(await adyen.post("/payments", body, key="key-old"))
        return bool(again["pspReference"] != first["pspReference"])

    assert not await is_another()
    await adyen.acquirer.configure(idempotency="1s")
    try:
        await eventually(is_another, 60)
    finally:
        await adyen.acquirer.configure(idempotency="honoured")


async def test_a_key_has_64_characters_at_most(adyen: AdyenSide) -> None:
    body = adyen.payment(adyen.new())
    done(await adyen.post("/payments", body, key="k" * 64))
    refused(await adyen.post("/payments", body, key="k" * 65), 422)


async def test_what_was_refused_may_be_sent_again(adyen: AdyenSide) -> None:
    reference = adyen.new()
    body = adyen.payment(reference)
    assert (await adyen.post("/payments", {**body, "colour": "red"}, key="key-mended")).status_code == 400
    done(await adyen.post("/payments", body, key="key-mended"))
