"""Acquirer processes for the tests of this folder."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from acquirer_process import Acquirer
from razorpay_side import RazorpaySide
from razorpay_side import set_up as set_up_razorpay
from stripe_side import EXCHANGES, StripeSide, set_up, violations

from tests.witnesses.stripe_spec import stripe_spec


@pytest.fixture
async def acquirer(tmp_path: Path) -> AsyncIterator[Acquirer]:
    running = Acquirer(tmp_path / "acquirer.sqlite")
    try:
        await running.start()
        yield running
    finally:
        await running.close()


@pytest.fixture
async def impatient_acquirer(tmp_path: Path) -> AsyncIterator[Acquirer]:
    """Holds for 1 s where another holds for 60 s; its authorizations are valid for 1 s."""
    arguments = ("--hold-s", "1", "--authorization-validity-s", "1")
    running = Acquirer(tmp_path / "acquirer.sqlite", arguments)
    try:
        await running.start()
        yield running
    finally:
        await running.close()


@pytest.fixture(scope="module")
async def unmoved_acquirer(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Acquirer]:
    """One for all tests of a module that move no money and change no configuration."""
    running = Acquirer(tmp_path_factory.mktemp("unmoved") / "acquirer.sqlite")
    try:
        await running.start()
        yield running
        assert await running.ledger() == []
    finally:
        await running.close()


@pytest.fixture
async def stripe(acquirer: Acquirer) -> StripeSide:
    """A merchant at the sandbox's Stripe, who is told of nothing."""
    await set_up(acquirer)
    return StripeSide(acquirer)


@pytest.fixture
async def unmoved_stripe(unmoved_acquirer: Acquirer) -> StripeSide:
    """The same, for tests that move no money and look at nothing but their own."""
    await set_up(unmoved_acquirer)
    return StripeSide(unmoved_acquirer)


@pytest.fixture
async def razorpay(acquirer: Acquirer) -> RazorpaySide:
    """A merchant at the sandbox's Razorpay, who is told of nothing."""
    await set_up_razorpay(acquirer)
    return RazorpaySide(acquirer)


@pytest.fixture
async def unmoved_razorpay(unmoved_acquirer: Acquirer) -> RazorpaySide:
    """The same, for tests that move no money and look at nothing but their own."""
    await set_up_razorpay(unmoved_acquirer)
    return RazorpaySide(unmoved_acquirer)


@pytest.fixture(autouse=True)
def _judged_by_stripes_document() -> Iterator[None]:
    """Every answer of the dialect is one that Stripe's document allows, and so was every request that it accepted.

    Where there is no Go nothing is judged; `test_stripe_witnesses.py` says so.
    """
    EXCHANGES.clear()
    yield
    exchanges, EXCHANGES[:] = EXCHANGES[:], []
    if exchanges and (shutil.which("go") or os.environ.get("TESTS_NEED_TOOLS")):
        assert [found for each in exchanges for found in violations(stripe_spec(), each)] == []
