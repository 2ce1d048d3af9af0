"""One acquirer for the tests of a module, and a merchant at its Adyen; each test has references of its own."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from acquirer_process import Acquirer
from adyen_side import EXCHANGES, AdyenSide, violations, webhook_side

from tests.witnesses.adyen_models import NOTIFICATION, adyen_models


@pytest.fixture(scope="module")
async def adyen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AdyenSide]:
    running = Acquirer(tmp_path_factory.mktemp("adyen") / "acquirer.sqlite", ("--hold-s", "1"))
    async with webhook_side() as webhooks:
        try:
            await running.start()
            side = AdyenSide(running, webhooks)
            await side.set_up()
            yield side
        finally:
            await running.close()


@pytest.fixture(autouse=True)
def _judged_by_adyens_library(adyen: AdyenSide) -> Iterator[None]:
    """Every answer and webhook is one that Adyen's library knows, and so is every request that was accepted.

    Where there is no npm nothing is judged; `test_adyen_witnesses.py` says so.
    """
    EXCHANGES.clear()
    seen = len(adyen.webhooks.bodies)
    yield
    exchanges, EXCHANGES[:] = EXCHANGES[:], []
    if shutil.which("npm") or os.environ.get("TESTS_NEED_TOOLS"):
        models = adyen_models()
        assert [found for each in exchanges for found in violations(models, each)] == []
        told = adyen.webhooks.bodies[seen:]
        assert [found for body in told for found in models.judged(NOTIFICATION, "Notification", body)] == []
