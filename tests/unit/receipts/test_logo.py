"""A merchant's logo: only a picture gets in, and only its pixels stay."""

import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image

from payonce.domain.errors import InvalidRequest
from payonce.receipts.logo import FILE_BYTES_MAX, KEPT_BYTES_MAX, SHOWN, checked
from tests.support.pictures import drawn


@pytest.mark.parametrize(
    ("form", "mode"), [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "RGB"), ("JPEG", "CMYK")]
)
def test_a_picture_becomes_a_png_that_fits(form: str, mode: str) -> None:
    kept = checked(drawn(1_800, 300, form=form, mode=mode))
    with Image.open(BytesIO(kept)) as picture:
        assert (picture.format, picture.size) == ("PNG", (600, 100))
    assert len(kept) <= KEPT_BYTES_MAX


def test_what_else_the_file_says_is_not_kept() -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    for form in ("PNG", "JPEG"):
        said = drawn(8, 8, form=form, exif=exif) + b"<script>alert(1)</script>"
        assert b"taken at home" in said
        kept = checked(said)
        assert b"taken at home" not in kept
        assert b"<script>" not in kept


def test_noise_is_written_with_fewer_colours() -> None:
    noise = Image.effect_noise(SHOWN, 200).convert("RGB")
    file = BytesIO()
    noise.save(file, "PNG")
    assert len(checked(file.getvalue())) <= KEPT_BYTES_MAX


def _claims(width: int, height: int) -> bytes:
    """A PNG that says this size, and has nothing of it."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a" + b"\0" * 40,
        drawn(8, 8, form="GIF"),
        drawn(8, 8, form="TIFF"),
        drawn(64, 64)[:-40],
        drawn(64, 64, form="JPEG")[:300],
        _claims(100_000, 100_000),
        _claims(5_000, 10),
        b"\x89PNG\r\n\x1a\n" + b"\0" * FILE_BYTES_MAX,
    ],
)
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidRequest, match="A logo"):
        checked(content)
