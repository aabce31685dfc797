"""A folder is the old one or the new one, whatever happens while it is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import KILLED_AT

from tfshop import _folders
from tfshop._folders import new_folder

# Write, be killed one moment later each time, and say what stands there.
KILLED_WRITES = """
import sys
from pathlib import Path
from tfshop import _folders
if sys.argv[2] == "no exchange":
    _folders._exchange = lambda one, other: False
place = Path(sys.argv[1]) / "place"

def write(text):
    with _folders.new_folder(place) as folder:
        for name in ("a", "b"):
            (folder / name).write_text(text)

number = 0
while True:
    write("old")
    number += 1
    killed = killed_at(number, lambda: write("new"))
    texts = {(place / name).read_text() if (place / name).is_file() else None for name in ("a", "b")}
    print(*sorted(map(str, texts)))
    if not killed:
        break
"""


def killed_writes(tmp_path: Path, variant: str) -> list[str]:
    answer = subprocess.run(
        [sys.executable, "-c", KILLED_AT + KILLED_WRITES, str(tmp_path), variant],
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.splitlines()


def test_the_block_fills_a_folder_that_then_stands_at_its_place(tmp_path: Path) -> None:
    with new_folder(tmp_path / "deep" / "place") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_text("x")
        assert not (tmp_path / "deep" / "place").exists()
    assert (tmp_path / "deep" / "place" / "sub" / "a").read_text() == "x"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["place"]


@pytest.mark.parametrize("exchanges", [True, False])
def test_an_older_folder_is_replaced_as_a_whole(
    exchanges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the system cannot exchange two names in one step."""
    if not exchanges:
        monkeypatch.setattr(_folders, "_exchange", lambda one, other: False)
    for name in ("old", "new"):
        with new_folder(tmp_path / "place") as folder:
            (folder / name).write_text(name)
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_an_error_in_the_block_leaves_the_old_folder_and_nothing_beside_it(tmp_path: Path) -> None:
    with new_folder(tmp_path / "place") as folder:
        (folder / "a").write_text("old")

    def interrupted() -> None:
        with new_folder(tmp_path / "place") as folder:
            (folder / "a").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "place" / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_a_relative_place_is_meant_from_where_the_block_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with new_folder("place") as folder:
        (folder / "a").write_text("x")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
    assert (tmp_path / "place" / "a").read_text() == "x"


def test_others_may_read_the_folder_as_any_other(tmp_path: Path) -> None:
    """A temporary folder is private; what takes its place must not be."""
    (tmp_path / "usual").mkdir()
    with new_folder(tmp_path / "place") as folder:
        (folder / "a").write_text("x")
    assert (tmp_path / "place").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the exchange of two names is Linux's")
def test_a_kill_at_any_moment_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    seen = killed_writes(tmp_path, "exchange")
    assert set(seen) == {"old", "new"} and len(seen) > 10
    assert seen == sorted(seen, reverse=True), "old up to one moment, new from then on"


def test_without_an_exchange_a_kill_never_leaves_half(tmp_path: Path) -> None:
    """There is one moment at which nothing stands there, and none at which something is half."""
    seen = killed_writes(tmp_path, "no exchange")
    assert {"old", "new"} <= set(seen) <= {"old", "new", "None"} and seen.count("None") <= 1
