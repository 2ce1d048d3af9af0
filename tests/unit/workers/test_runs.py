"""Which workflow carries an operation out."""

from typing import Any

import pytest

from payonce.domain.operations import Operation, OperationKind
from tests.support.rows import operation, payment
from workers.dispatch import Dispatcher
from workflows.payment import PaymentWorkflow
from workflows.refund import RefundWorkflow, ReversalWorkflow

K = OperationKind


class Started(Exception):
    """A client that starts nothing."""


class Client:
    async def start_workflow(self, function: Any, **said: Any) -> None:
        raise Started(function, said["id"])


@pytest.mark.parametrize(
    ("of", "run", "id_"),
    [
        (operation(K.CAPTURE), PaymentWorkflow.run, "pay_1"),
        (operation(K.REFUND), RefundWorkflow.run, "op_refund"),
        (operation(K.REVERSE), ReversalWorkflow.run, "op_reverse"),
        (operation(K.REVERSE, sent_as=K.VOID), RefundWorkflow.run, "op_reverse"),
        (operation(K.REVERSE, sent_as=K.REFUND), RefundWorkflow.run, "op_reverse"),
    ],
)
async def test_a_release_of_its_own_runs_like_a_refund(of: Operation, run: Any, id_: str) -> None:
    client: Any = Client()
    with pytest.raises(Started) as started:
        await Dispatcher(client).start_again(payment(), of)
    assert started.value.args == (run, id_)
