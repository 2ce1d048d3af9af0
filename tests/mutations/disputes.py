"""Mistakes about disputes, by which a refund would pay what a bank has taken back."""

from typing import Final

from tests.mutations.mutation import Mutation

_RULES: Final = "payonce/domain/disputes.py"
_OF_RULES: Final = ("tests/unit/domain/test_disputes.py", "tests/unit/domain/test_disputes_told.py")
_ACCEPTANCE: Final = "payonce/domain/acceptance.py"
_OF_ACCEPTANCE: Final = ("tests/unit/domain/test_acceptance.py",)
_OF_GIVING_BACK: Final = ("tests/storage/activities/test_withdrawn.py",)

DISPUTES: Final = (
    Mutation(
        "3",
        "disputes: the clock says which word of a dispute is newer, and not the procedure",
        _RULES,
        "    return word.step, word.at, _STAGES",
        "    return 0, word.at, _STAGES",
        _OF_RULES,
    ),
    Mutation(
        "3",
        "disputes: who is to act says where the money is, too",
        _RULES,
        "[word for word in ordered if not word.only_status] or [last]",
        "ordered",
        _OF_RULES,
    ),
    Mutation(
        "3",
        "disputes: an older word undoes a newer one",
        _RULES,
        "(known.payment_id != payment.id or said.at < known.said_at)",
        "(known.payment_id != payment.id)",
        _OF_RULES,
    ),
    Mutation(
        "3",
        "disputes: each word that a callback carries counts alone",
        "payonce/recording/disputing.py",
        "            standing = rules.latest([*same, said])\n",
        "            standing = said\n",
        ("tests/storage/workers/test_banks_told.py",),
    ),
    Mutation(
        "3",
        "disputes: whose reference a payer has written is believed",
        _RULES,
        "    if other or elsewhere or said.amount_minor <= 0:\n",
        "    if other or said.amount_minor <= 0:\n",
        _OF_RULES,
    ),
    Mutation(
        "5",
        "disputes: an amount in the bank's currency is taken for one of the payment's",
        _RULES,
        "    if withdrawn and said.withdrawn_in not in (None, payment.currency):\n",
        "    if False:\n",
        _OF_RULES,
    ),
    Mutation(
        "5",
        "disputes: Stripe's open dispute holds nothing until its money has moved",
        "payonce/connectors/stripe/disputing.py",
        "        return from_stripe(asked, currency.upper()) if open_ else 0\n",
        "        return 0\n",
        ("tests/connectors/stripe/test_stripe_disputes.py",),
    ),
    Mutation(
        "5",
        "disputes: what Stripe's balance lost in its own currency is taken for the payment's",
        "payonce/connectors/stripe/disputing.py",
        "    if all(one.currency == currency for one in found.balance_transactions):\n",
        "    if True:\n",
        ("tests/connectors/stripe/test_stripe_disputes.py",),
    ),
    Mutation(
        "4",
        "disputes: a payment at Stripe waits for its disputes",
        "payonce/connectors/stripe/disputing.py",
        "            if call.approved:\n                raise\n",
        "            raise\n",
        ("tests/connectors/stripe/test_stripe_disputes.py",),
    ),
    Mutation(
        "5",
        "disputes: Razorpay has taken nothing while a dispute is open",
        "payonce/connectors/razorpay/disputing.py",
        "        return max(found.amount, found.amount_deducted)\n",
        "        return found.amount_deducted\n",
        ("tests/connectors/razorpay/test_razorpay_disputes.py",),
    ),
    Mutation(
        "5",
        "disputes: a chargeback that Adyen announces holds nothing",
        "payonce/connectors/adyen/disputing.py",
        '    "NOTIFICATION_OF_CHARGEBACK": _Meaning(1, "needs_response"),\n',
        '    "NOTIFICATION_OF_CHARGEBACK": _Meaning(1, "needs_response", withdrawn=False),\n',
        ("tests/connectors/adyen/test_adyen_disputes.py",),
    ),
    Mutation(
        "3",
        "disputes: a request to Adyen that was not done counts",
        "payonce/connectors/adyen/callbacks.py",
        "        return disputing.read(item) if yes else None\n",
        "        return disputing.read(item)\n",
        ("tests/connectors/adyen/test_adyen_disputes.py",),
    ),
    Mutation(
        "2",
        "disputes: an acceptance that may be on its way is sent again",
        "payonce/domain/claiming.py",
        "    if latest.kind is OperationKind.ACCEPT and latest.state is AttemptState.NOT_PROCESSED:\n",
        "    if latest.kind is OperationKind.ACCEPT:\n",
        _OF_ACCEPTANCE,
    ),
    Mutation(
        "5",
        "disputes: two keys accept one dispute at the same time",
        _ACCEPTANCE,
        "    if under_way:\n",
        "    if False:\n",
        _OF_ACCEPTANCE,
    ),
    Mutation(
        "3",
        "disputes: what was accepted is lost by the acquirer's word for it",
        _ACCEPTANCE,
        "            accepting=accepted,\n",
        "            accepting=False,\n",
        _OF_ACCEPTANCE,
    ),
    Mutation(
        "3",
        "disputes: the outcome of an acceptance is overwritten",
        _ACCEPTANCE,
        "    if operation.status is not OperationStatus.PENDING:\n"
        "        return Settlement(payment, operation, known)\n",
        "",
        _OF_ACCEPTANCE,
    ),
    Mutation(
        "4",
        "disputes: what was not processed is sent again for ever",
        _ACCEPTANCE,
        "        case NotProcessed() if attempt.number < ATTEMPTS_MAX:\n",
        "        case NotProcessed():\n",
        _OF_ACCEPTANCE,
    ),
    Mutation(
        "4",
        "disputes: one that waits for its merchant is taken for accepted",
        "payonce/connectors/acceptances.py",
        '        case "accepted" | "lost":\n',
        '        case "accepted" | "lost" | "needs_response":\n',
        ("tests/connectors/stripe/test_stripe_acceptances.py",),
    ),
    Mutation(
        "4",
        "disputes: what was refunded is still there for a bank to have",
        "payonce/domain/payment.py",
        "> max(0, self.amount_captured_minor - given_back)\n",
        "> self.amount_captured_minor\n",
        _OF_GIVING_BACK,
    ),
    Mutation(
        "4",
        "disputes: of two charges the one that a bank has is given back",
        _RULES,
        "            return payment.amount_disputed_minor > 0\n",
        "            return payment.disputes_exceed\n",
        _OF_GIVING_BACK,
    ),
    Mutation(
        "4",
        "disputes: what took another amount is reversed while a bank has it",
        "activities/resolving.py",
        "        if attempt.took_another_amount and disputes",
        "        if not attempt.took_another_amount and disputes",
        _OF_GIVING_BACK,
    ),
)
