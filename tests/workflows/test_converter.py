"""The converter that every workflow gets: what it learned about a type is not learned again for each payment."""

from activities.messages import OperationRequest
from payonce.domain.operations import OperationKind
from workers.converter import SharedPayloadConverter


def test_two_workflows_share_what_was_built_for_a_type() -> None:
    first, second = SharedPayloadConverter(), SharedPayloadConverter()
    request = OperationRequest("pay_1", "pay_1", OperationKind.AUTHORIZE)
    payloads = first.to_payloads([request])
    assert first.from_payloads(payloads, [OperationRequest]) == [request]
    adapters = first.converters[b"json/plain"]
    assert adapters is second.converters[b"json/plain"]
    built = adapters._type_adapter.cache_info().misses  # type: ignore[attr-defined]  # the SDK's own cache
    assert second.from_payloads(payloads, [OperationRequest]) == [request]
    assert adapters._type_adapter.cache_info().misses == built
