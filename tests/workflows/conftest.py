"""A Temporal test server that skips time, from the wheel: nothing is downloaded."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.testing import WorkflowEnvironment

from tests.workflows.rig import Bench
from workers.converter import data_converter
from workflows.attributes import FAILURE_REASON, PAYMENT_STATUS, REVIEW_REASON, WAITING_UNTIL

SERVER = Path(sys.executable).parent / "temporal-test-server"


@pytest.fixture(scope="module")
async def time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(
        data_converter=data_converter, test_server_existing_path=str(SERVER)
    ) as environment:
        attributes = {
            PAYMENT_STATUS.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
            WAITING_UNTIL.name: IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
            FAILURE_REASON.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
            REVIEW_REASON.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
        }
        await environment.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(search_attributes=attributes)
        )
        yield environment


@pytest.fixture
async def bench(time_skipping: WorkflowEnvironment) -> AsyncIterator[Bench]:
    """One payment's workflows, with a worker of their own."""
    made = Bench(time_skipping)
    async with made.worker():
        yield made
