"""How values cross Temporal: JSON by pydantic, with one set of type adapters for the whole process.

The SDK makes a payload converter for each workflow. Pydantic's keeps its type adapters to itself, so every payment
would build those of its messages again (docs/performance.md).
"""

from dataclasses import replace

from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import CompositePayloadConverter

_CONVERTERS = tuple(PydanticPayloadConverter().converters.values())


class SharedPayloadConverter(CompositePayloadConverter):
    """Pydantic's converters, shared by all workflows of the process."""

    def __init__(self) -> None:
        super().__init__(*_CONVERTERS)


data_converter = replace(pydantic_data_converter, payload_converter_class=SharedPayloadConverter)
