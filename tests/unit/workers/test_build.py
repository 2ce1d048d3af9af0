"""Temporal's histories name the code that ran, and every process of one release names the same."""

import sys
from pathlib import Path

import pytest

from workers import build


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a release with one file in each folder of ours is installed."""
    for folder in build.OUR_CODE:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "code.py").write_text(f"{folder} = 1\n")
    monkeypatch.setattr(build, "__file__", str(tmp_path / "workers" / "build.py"))
    return tmp_path


@pytest.mark.parametrize("folder", build.OUR_CODE)
def test_another_line_of_ours_is_another_build(release: Path, folder: str) -> None:
    before = build.build_id.__wrapped__()
    (release / folder / "code.py").write_text(f"{folder} = 2\n")
    assert build.build_id.__wrapped__() != before


def test_what_is_not_ours_changes_nothing(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.build_id.__wrapped__()
    (release / "other").mkdir()
    (release / "other" / "code.py").write_text("other = 1\n")
    monkeypatch.setitem(sys.modules, "other", sys)
    assert build.build_id.__wrapped__() == before


def test_it_is_one_name_for_a_process() -> None:
    assert build.build_id() == build.build_id.__wrapped__()
    assert len(build.build_id()) == 32
