"""One mutation or more for each rule that protects money: what is put in place of what, and who must notice."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutation:
    """The rule broken in one place; the tests that hold it are the smallest part of the suite that does."""

    rule: str
    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "1",
        "the key's row does not decide: a second request with the key is admitted as the first",
        "api/admission/transaction.py",
        "        return self.held\n",
        "        return True\n",
        ("tests/storage/admission/test_admitting.py", "tests/storage/admission/test_admission_in_doubt.py"),
    ),
    Mutation(
        "2",
        "a COMMIT without an answer grants the right",
        "payonce/storage/driver/database.py",
        '            raise CommitUnknown("COMMIT was not answered in time", ended=committing)\n',
        "            return\n",
        ("tests/storage", "tests/pair"),
    ),
    Mutation(
        "2",
        "a warning, a late answer and a closed gate prove as well",
        "payonce/domain/claiming.py",
        "        return self is CommitEnd.ANSWERED\n",
        "        return self not in (CommitEnd.LOST, CommitEnd.ROLLED_BACK)\n",
        ("tests/storage", "tests/explorer", "tests/pair"),
    ),
    Mutation(
        "2",
        "the right is not popped",
        "payonce/claims.py",
        "        return self._rights.pop(operation_id, None)\n",
        "        return self._rights.get(operation_id)\n",
        ("tests/storage",),
    ),
    Mutation(
        "2",
        "the deadline is not looked at",
        "payonce/claims.py",
        "        return self.clock() < self.deadline\n",
        "        return True\n",
        ("tests/storage",),
    ),
    Mutation(
        "2",
        "a claim that may have been sent is taken over",
        "payonce/domain/claiming.py",
        "    return latest.number + 1 if latest.state is AttemptState.NOT_SENT else None\n",
        "    return latest.number + 1 if not latest.state.definite else None\n",
        ("tests/storage/test_claims.py",),
    ),
    Mutation(
        "2a",
        "a release takes whatever stands, by no token",
        "payonce/domain/claiming.py",
        "    mine = (latest.number, latest.token) == (number, token)\n",
        "    mine = True\n",
        ("tests/storage/test_claims.py", "tests/explorer"),
    ),
    Mutation(
        "2a",
        "a release frees what is no longer claimed",
        "payonce/domain/claiming.py",
        "    return Release.GIVEN_BACK if mine and latest.state is AttemptState.CLAIMED else Release.OTHERS\n",
        "    return Release.GIVEN_BACK if mine else Release.OTHERS\n",
        ("tests/storage/test_claims.py", "tests/explorer"),
    ),
    Mutation(
        "3",
        "a later fact overwrites the first",
        "payonce/domain/settlement.py",
        "    if operation.status is not OperationStatus.PENDING or attempt.closed:\n",
        "    if False:\n",
        ("tests/unit", "tests/storage/recording/test_recording.py"),
    ),
    Mutation(
        "3",
        "a fact about another claim counts for the one that stands",
        "payonce/domain/claiming.py",
        "    return token is None or attempt.token == token\n",
        "    return True\n",
        ("tests/storage", "tests/explorer"),
    ),
    Mutation(
        "4",
        "NOT_FOUND counts before finality",
        "payonce/domain/claiming.py",
        "    return attempt.send_before + CLOCK_SKEW + timedelta(seconds=call_deadline_s + finality_s)\n",
        "    return attempt.send_before + CLOCK_SKEW\n",
        ("tests/storage", "tests/explorer"),
    ),
    Mutation(
        "5",
        "no lock on the payment's row",
        "payonce/storage/payments.py",
        "_LOCKED = Statement(_PAYMENT.with_for_update())",
        "_LOCKED = Statement(_PAYMENT)",
        ("tests/storage/admission/test_admitting.py", "tests/storage/recording/test_recording.py"),
    ),
    Mutation(
        "6",
        "the outbox in a transaction of its own",
        "payonce/recording/rows.py",
        "    deliveries = await outbox.add_events(\n        connection, ",
        "    await connection.execute(__import__('sqlalchemy').text('COMMIT AND CHAIN'))\n"
        "    deliveries = await outbox.add_events(\n        connection, ",
        ("tests/storage/recording/test_recording.py",),
    ),
    Mutation(
        "6",
        "a replay is said although it is not proven",
        "payonce/storage/driver/database.py",
        "        return self.gate.open and await proofs.passed(self._write_nothing)\n",
        "        return True\n",
        ("tests/storage", "tests/pair"),
    ),
    Mutation(
        "8",
        "503 for a key that could not be read",
        "api/admission/transaction.py",
        "            raise (Unavailable if taking.held else KeyUnknown) from error\n",
        "            raise Unavailable from error\n",
        ("tests/storage", "tests/api"),
    ),
    Mutation(
        "8",
        "the gate never closes",
        "payonce/storage/standby.py",
        "        if self.follows_standby and self._opened.is_set():\n",
        "        if False:\n",
        ("tests/storage", "tests/pair"),
    ),
)
