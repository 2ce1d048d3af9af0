"""A receipt's bytes: HTML by one escaped template, PDF by typst. Both are given the same view, as data.

Needs the extra `receipts`. Nothing is fetched: typst reads the fonts of that extra, and the logo comes as bytes.
"""

import base64
import importlib.util
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import jinja2
import typst
from markupsafe import Markup

from payonce.receipts.headers import policy_of

if TYPE_CHECKING:  # it is in its stubs only
    from typst import PDFStandards

_HERE: Final = Path(__file__).parent
_FONT_FOLDERS: Final = {
    "fontpkg_noto_sans": "files",
    "fontpkg_noto_sans_devanagari": "files",
    "fontpkg_noto_sans_tamil": "files",
    "fontpkg_noto_sans_arabic": "files",
    "pylopdf_fonts_zh_cn": ".",
}
ACCESSIBLE: Final[Literal["ua-1"]] = "ua-1"  # tagged, with a language and a title (ISO 14289-1)
_MADE_AT: Final = datetime(2000, 1, 1, tzinfo=UTC)  # the same view makes the same bytes


def html(receipt: Mapping[str, Any], logo: bytes | None) -> bytes:
    """A page of its own, in UTF-8."""
    style = (_HERE / "receipt.css").read_text()
    source = f"data:image/png;base64,{base64.b64encode(logo).decode()}" if logo else ""
    members = {"receipt": receipt, "logo": source, "style": _markup(style), "policy": policy_of(style)}
    return _template().render(members).encode()


def pdf(receipt: Mapping[str, Any], logo: bytes | None) -> bytes:
    """A tagged PDF with its fonts inside."""
    inputs = {"receipt": json.dumps(receipt), "logo": json.dumps(list(logo or b""))}
    try:
        return _compiled(inputs, [ACCESSIBLE])
    except typst.TypstError:  # a letter that no font of ours has: it is tagged all the same, and shows a box
        return _compiled(inputs, [])


def _compiled(inputs: dict[str, str], standards: "PDFStandards") -> bytes:
    compiler = typst.Compiler(
        (_HERE / "receipt.typ").read_bytes(),
        root=str(_HERE),  # where it might read files, if anything named one
        font_paths=_fonts(),
        ignore_system_fonts=True,
        sys_inputs=inputs,
    )
    made = compiler.compile(format="pdf", pdf_standards=standards, timestamp=_MADE_AT)
    assert isinstance(made, bytes), "one document"
    return made


FORMS: Final[Mapping[str, Callable[[Mapping[str, Any], bytes | None], bytes]]] = {"html": html, "pdf": pdf}


@cache
def _template() -> jinja2.Template:
    source = (_HERE / "receipt.html.jinja").read_text()
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)


def _markup(style: str) -> Markup:
    """Our own file: as text of an element that is not parsed, it must not be escaped."""
    return Markup(style)  # noqa: S704


@cache
def _fonts() -> typst.Fonts:
    folders = []
    for package, folder in _FONT_FOLDERS.items():
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            raise ModuleNotFoundError(f"the fonts of {package} are not installed", name=package)
        folders.append(str(Path(found.origin).parent / folder))
    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=folders)
