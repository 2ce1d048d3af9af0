"""What the other side of Temporal gets."""

from typing import Any

from workers.converter import data_converter


async def crossed(value: Any, as_type: Any) -> Any:
    """The value as the other side gets it."""
    payloads = await data_converter.encode([value])
    return (await data_converter.decode(payloads, [as_type]))[0]
