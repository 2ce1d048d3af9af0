"""Each walk leads where it should, on the stack of the tests."""

import pytest

from devstack.stack import DevStack
from tests.e2e.merchant import Merchant
from tests.e2e.walks import WALKS
from tests.e2e.walks.scene import Scene
from tests.support.witness import Witness


@pytest.mark.parametrize("name", WALKS)
async def test_a_walk_leads_where_it_should(
    stack: DevStack, shop: Merchant, witness: Witness, name: str
) -> None:
    scene = Scene(shop, witness, stack.product_environ())
    payment = await WALKS[name](scene)
    shown = await scene.shown(payment)
    assert "acquirer's ledger" in shown
