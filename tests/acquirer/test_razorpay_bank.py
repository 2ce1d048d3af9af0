"""The sandbox's Razorpay: the disputes of an account, whose banks are played on the sandbox's own page."""

from razorpay_side import RazorpaySide, done, error


async def disputed(razorpay: RazorpaySide, receipt: str) -> None:
    fields = {"payment_reference": receipt, "reason": "fraudulent"}
    page = {"Accept": "application/json"}
    (await razorpay.acquirer.client.post("/disputes", data=fields, headers=page)).raise_for_status()


async def test_disputes_are_listed_by_when_they_were_made(razorpay: RazorpaySide) -> None:
    first, second = await razorpay.paid(receipt="pay_first"), await razorpay.paid(receipt="pay_second")
    assert done(await razorpay.get("/disputes")) == {"entity": "collection", "count": 0, "items": []}
    for receipt in ("pay_first", "pay_second"):
        await disputed(razorpay, receipt)
    newest, oldest = done(await razorpay.get("/disputes"))["items"]
    assert [one["payment_id"] for one in (newest, oldest)] == [second["id"], first["id"]]
    assert done(await razorpay.get(f"/disputes/{newest['id']}")) == newest
    made = {"from": oldest["created_at"], "to": newest["created_at"]}
    last = done(await razorpay.get("/disputes", **made, count=1, skip=1))
    assert (last["count"], last["items"]) == (1, [oldest])
    before = {"to": oldest["created_at"] - 1}
    assert done(await razorpay.get("/disputes", **before))["items"] == []
    assert error(await razorpay.get("/disputes", count=101))["field"] == "count"
