"""A report folder is the old one or the new one, never half, and never somebody else's."""

from __future__ import annotations

import pytest

from tfshop.errors import TfshopError
from tfshop.report import pictures
from tfshop.report.folder import write_folder

KNOWN = {"index.html", "a.png"}


def test_saved_report_has_the_page_the_tables_and_both_kinds_of_each_picture(make_report, tmp_path):
    page = make_report(2, 4_000).save(tmp_path / "deep" / "report")
    assert page == tmp_path / "deep" / "report" / "index.html"
    names = {path.name for path in page.parent.iterdir()}
    assert {"index.html", "results.md", "auc_size.png", "auc_size.svg", "calibration.png"} <= names
    assert len(names) == 2 + 7 * 2
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report"]


def test_saving_again_replaces_the_report_and_drops_stale_pictures(make_report, tmp_path, monkeypatch):
    two = {name: pictures.PICTURES[name] for name in ("bytes_by_part", "latency_by_batch")}
    monkeypatch.setattr(pictures, "PICTURES", two)
    make_report(2, 4_000).save(tmp_path / "report")
    assert (tmp_path / "report" / "latency_by_batch.png").exists()
    make_report(2, 4_000, timed=False).save(tmp_path / "report")
    assert not (tmp_path / "report" / "latency_by_batch.png").exists()
    assert (tmp_path / "report" / "index.html").exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(TfshopError, match=r"thesis\.txt.*Fix:"):
        write_folder(tmp_path / "mine", {"index.html": b"new"}, KNOWN)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "report").write_text("a file")
    with pytest.raises(TfshopError, match="Expected a folder"):
        write_folder(tmp_path / "report", {"index.html": b"new"}, KNOWN)
    assert (tmp_path / "report").read_text() == "a file"


@pytest.mark.parametrize("content", [{"index.html": b"new", "a.png": None}, {"index.html": b"new", "no/a.png": b""}])
def test_a_failure_while_writing_leaves_the_old_report(tmp_path, content):
    """The second file cannot be written: as a full disk, or a kill, would have it."""
    write_folder(tmp_path / "report", {"index.html": b"old"}, KNOWN)
    with pytest.raises((TypeError, OSError)):
        write_folder(tmp_path / "report", content, KNOWN)
    assert (tmp_path / "report" / "index.html").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
