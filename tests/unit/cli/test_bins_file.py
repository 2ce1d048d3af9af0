"""The file of ranges that `payonce bins import` reads: taken whole, or refused with the line and no number."""

from pathlib import Path

import pytest

from payonce.cli import bins_file
from payonce.cli.base import CommandRefused
from payonce.cli.bins_file import read_ranges
from payonce.domain.issuers import IssuerRange


def written(tmp_path: Path, *lines: str, header: str = "first,last,country") -> Path:
    path = tmp_path / "ranges.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_ranges_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "52,55,US", "411111,,FR", '"400000000",400000009,IN')
    assert read_ranges(path) == [
        IssuerRange(400000000, 400000009, "IN"),
        IssuerRange(411111000, 411111999, "FR"),
        IssuerRange(520000000, 559999999, "US"),
    ]


def test_a_byte_order_mark_and_other_ends_of_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "ranges.csv"
    path.write_bytes(b"\xef\xbb\xbffirst,last,country\r\n4,,FR\r\n")
    assert read_ranges(path) == [IssuerRange(400000000, 499999999, "FR")]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("4111111111,,FR", "1 to 9 digits"),
        ("41x,,FR", "1 to 9 digits"),
        ("\u0664,,FR", "1 to 9 digits"),
        ("-4,,FR", "1 to 9 digits"),
        (",,FR", "1 to 9 digits"),
        ("41,4299,FR", "same number of digits"),
        ("42,41,FR", "before first"),
        ("41,42,UK", "ISO 3166-1"),
        ("41,42,fr", "ISO 3166-1"),
        ("41,42", "3 members"),
        ("41,42,FR,visa", "3 members"),
        ("", "3 members"),
        ('"41,42,FR', "no CSV"),
        ("4" * 201, "longer than 200"),
    ],
)
def test_a_wrong_line_is_refused_by_its_number(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(CommandRefused, match=why) as refused:
        read_ranges(written(tmp_path, "51,,US", line))
    assert "line 3: " in str(refused.value) or why == "no CSV"


def test_no_number_of_a_file_that_is_another_one_is_repeated(tmp_path: Path) -> None:
    with pytest.raises(CommandRefused) as refused:
        read_ranges(written(tmp_path, "4111111111111111,,FR"))
    assert "4111" not in str(refused.value)


def test_every_wrong_line_is_told_up_to_a_limit(tmp_path: Path) -> None:
    with pytest.raises(CommandRefused) as refused:
        read_ranges(written(tmp_path, *["x,,FR"] * 20))
    told = str(refused.value)
    assert "line 2: " in told
    assert told.count("digits") == bins_file.MISTAKES_TOLD


@pytest.mark.parametrize(
    "lines",
    [("41,42,FR", "51,,US", "42,43,FR"), ("41,,FR", "51,,US", "41,,FR"), ("411,,FR", "51,,US", "4,,US")],
)
def test_ranges_that_overlap_are_refused_wherever_they_stand(tmp_path: Path, lines: tuple[str, ...]) -> None:
    with pytest.raises(CommandRefused, match="lines 2 and 4: their ranges overlap"):
        read_ranges(written(tmp_path, *lines))


@pytest.mark.parametrize("header", ["41,42,FR", "first,last", ""])
def test_a_file_without_the_header_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(CommandRefused, match="line 1: must be the header"):
        read_ranges(written(tmp_path, "51,,US", header=header))


def test_a_file_without_a_range_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandRefused, match="no range"):
        read_ranges(written(tmp_path))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ranges.csv"
    path.write_bytes(b"first,last,country\n\xff\xfe,,FR\n")
    with pytest.raises(CommandRefused, match="UTF-8"):
        read_ranges(path)


def test_a_file_may_have_as_many_ranges_as_fit_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bins_file, "RANGES_MAX", 2)
    assert len(read_ranges(written(tmp_path, "1,,FR", "2,,FR"))) == 2
    with pytest.raises(CommandRefused, match="more than 2 ranges"):
        read_ranges(written(tmp_path, "1,,FR", "2,,FR", "3,,FR"))
