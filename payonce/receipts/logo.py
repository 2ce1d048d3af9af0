"""A merchant's logo: a PNG or JPEG that was read whole and is written anew, so that its picture alone is kept."""

import warnings
from io import BytesIO
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from payonce.domain.errors import InvalidRequest

FILE_BYTES_MAX: Final = 2 * 1024 * 1024
PIXELS_MAX: Final = 4_000_000  # of the file: what is to be read into memory
SIDE_MAX: Final = 4_000
SHOWN: Final = (600, 200)  # the logo is made to fit
KEPT_BYTES_MAX: Final = 128 * 1024
_FORMATS: Final = ("PNG", "JPEG")


def checked(content: bytes) -> bytes:
    """The picture as a PNG of ours, of at most `SHOWN` pixels, without what else the file said.

    Raises `InvalidRequest` for what is no PNG or JPEG, or too large.
    """
    if len(content) > FILE_BYTES_MAX:
        raise _refused(f"has at most {FILE_BYTES_MAX // 1024 // 1024} MiB")
    try:
        with warnings.catch_warnings(), Image.open(BytesIO(content), formats=_FORMATS) as picture:
            warnings.simplefilter("error")
            if picture.width * picture.height > PIXELS_MAX or max(picture.size) > SIDE_MAX:
                raise _refused(f"has at most {PIXELS_MAX} pixels, and {SIDE_MAX} on a side")
            return _written(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:
        raise _refused("is a PNG or JPEG") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Warning) as error:
        raise _refused("is a whole PNG or JPEG; this one cannot be read") from error


def _written(picture: Image.Image) -> bytes:
    """Its pixels alone: nothing of the file's own description goes with them."""
    plain = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    plain.thumbnail(SHOWN)
    for colours in (None, 256, 64, 16):
        shown = plain if colours is None else plain.quantize(colours)
        bare = Image.new(shown.mode, shown.size)
        if shown.palette is not None:
            bare.putpalette(shown.palette)
        bare.paste(shown)
        written = BytesIO()
        bare.save(written, "PNG", optimize=True)
        if written.tell() <= KEPT_BYTES_MAX:
            return written.getvalue()
    raise _refused(f"has at most {KEPT_BYTES_MAX // 1024} KiB as a PNG of {SHOWN[0]} by {SHOWN[1]} pixels")


def _refused(what: str) -> InvalidRequest:
    return InvalidRequest(f"A logo {what}.", pointer="/logo")
