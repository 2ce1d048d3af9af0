"""Six walks over a workflow task's payloads that change nothing here, left out (ADR 0036).

The SDK walks and copies the payloads of each task three times before it runs and three times after it: for a codec,
for storage outside Temporal, and for references to what is there. payonce has neither (`workers/converter.py`); a
converter that has one of them is served as the SDK does.
"""

from typing import Any, Final

from temporalio.bridge import worker as bridge
from temporalio.converter import DataConverter
from temporalio.converter._extstore import StorageOperationMetrics
from temporalio.worker import _workflow

_decode, _encode = bridge.decode_activation, bridge.encode_completion
_create = _workflow._CommandAwareDataConverter.create


def leave_out() -> None:
    """For every worker of this process, from now on. It may be called again."""
    for owner, name, instead in _INSTEAD:
        setattr(owner, name, instead)


def _changes_nothing(converter: DataConverter) -> bool:
    return converter.payload_codec is None and converter.external_storage is None


async def _decoded(activation: Any, data_converter: DataConverter, **options: Any) -> StorageOperationMetrics:
    if _changes_nothing(data_converter):
        return StorageOperationMetrics()
    return await _decode(activation, data_converter, **options)


async def _encoded(completion: Any, data_converter: DataConverter, **options: Any) -> StorageOperationMetrics:
    if _changes_nothing(data_converter):
        return StorageOperationMetrics()
    return await _encode(completion, data_converter, **options)


def _created(*, workflow_context_dc: DataConverter, **context: Any) -> DataConverter:
    """What a payload belongs to matters only where something changes it."""
    if _changes_nothing(workflow_context_dc):
        return workflow_context_dc
    return _create(workflow_context_dc=workflow_context_dc, **context)


_INSTEAD: Final = (
    (bridge, "decode_activation", _decoded),
    (bridge, "encode_completion", _encoded),
    (_workflow._CommandAwareDataConverter, "create", staticmethod(_created)),
)
