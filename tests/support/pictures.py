"""Pictures, as merchants hand them in."""

from io import BytesIO
from typing import Any

from PIL import Image


def drawn(width: int, height: int, *, form: str = "PNG", mode: str = "RGB", **written: Any) -> bytes:
    """A picture of one colour, in a file of this form."""
    file = BytesIO()
    Image.new(mode, (width, height), "teal").save(file, form, **written)
    return file.getvalue()
