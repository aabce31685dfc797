"""A report of several targets shows each of them, and is good news only where all are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tfshop.errors import ScoringError
from tfshop.evaluation import Evaluation, TargetEvaluation
from tfshop.evaluation.delong import LOST_NOTHING
from tfshop.report import Report, Variant, pictures
from tfshop.report.pictures import PICTURES, draw_pictures
from tfshop.report.report import KNOWN
from tfshop.report.tables import all_tables
from tfshop.report.verdict import judge, missed_limits

NEEDS_TARGET = {"auc_size", "accuracy_recall", "roc_precision_recall", "calibration"}


def joined(clicked: Variant, bought: Variant) -> Variant:
    """Two reports' files as one with two targets."""
    targets = {
        target: TargetEvaluation(seen.validation, seen.test, seen.auc_difference_validation, seen.auc_difference_test)
        for target, seen in (("clicked", clicked.evaluation), ("bought", bought.evaluation))
    }
    return replace(
        clicked,
        evaluation=replace(clicked.evaluation, targets=targets),
        labels=np.stack([clicked.labels, bought.labels], axis=1),
        scores=np.stack([clicked.scores, bought.scores], axis=1),
    )


@pytest.fixture(scope="module")
def two(make_report) -> Report:
    """'int8' of the first target beside the worst file of the second."""
    one = make_report(5, 4000)
    pairs = zip(one.variants[:2], one.variants[3:5], strict=True)
    return replace(
        one, baseline=joined(one.baseline, one.baseline), variants=tuple(joined(a, b) for a, b in pairs), limits={}
    )


def test_each_target_is_a_report_of_its_own(two: Report) -> None:
    assert list(two.each) == ["clicked", "bought"]
    bought = two.each["bought"].variants[0]
    assert bought.evaluation == two.variants[0].evaluation.of("bought")
    np.testing.assert_array_equal(bought.probabilities, two.variants[0].scores[:, 1])
    np.testing.assert_array_equal(bought.truth, two.variants[0].labels[:, 1] > 0)


def test_the_headline_names_every_target(two: Report) -> None:
    sentence = two.headlines[two.variants[0].name]
    assert ", clicked AUC " in sentence and ", bought AUC " in sentence


def test_one_target_that_lost_is_enough_for_bad_news(two: Report) -> None:
    variant = two.variants[0]
    low = variant.evaluation.of("bought").auc_difference_test.low
    assert low < -LOST_NOTHING
    assert judge(variant, two.baseline, {}).badge == f"may have lost {-low:.4f}"


def test_a_limit_is_missed_by_the_target_that_misses_it(two: Report) -> None:
    """A limit between what the two lose, in either order of the targets."""
    variant = two.variants[0]
    lows = {t: seen.auc_difference_validation.low for t, seen in variant.evaluation.each.items()}
    assert lows["bought"] < lows["clicked"]
    (missed,) = missed_limits(variant, {"max_auc_drop": -(lows["bought"] + lows["clicked"]) / 2})
    assert f"the lower end on validation of bought is {lows['bought']:+.4f}" in missed
    assert missed_limits(variant, {"max_auc_drop": -lows["bought"] + 1e-6}) == ()
    assert len(missed_limits(variant, {"max_auc_drop": 1e-9})) == 2


def test_the_tables_show_every_target(two: Report) -> None:
    tables = {table.title: table for table in all_tables(two.baseline, two.variants)}
    assert list(tables) == [
        "Summary",
        "Quality on test: clicked",
        "Quality on validation: clicked",
        "Quality on test: bought",
        "Quality on validation: bought",
        "Latency of one call",
    ]
    summary = tables["Summary"]
    for target, seen in two.variants[0].evaluation.each.items():
        column = summary.headings.index(f"{target}: AUC")
        assert summary.rows[1][column] == f"{seen.test.auc:.4f}"
    recall = tables["Quality on test: bought"].headings.index("recall")
    assert tables["Quality on test: bought"].rows[1][recall] == (
        f"{two.variants[0].evaluation.of('bought').test.recall:.4f}"
    )


def test_each_target_has_its_pictures_and_they_say_which(two: Report) -> None:
    figures = draw_pictures(two)
    expected = [
        name
        for picture in PICTURES
        for name in ([picture, f"{picture}_target_2"] if picture in NEEDS_TARGET else [picture])
    ]
    assert list(figures) == expected
    assert {f"{name}.{kind}" for name in expected for kind in ("png", "svg")} <= KNOWN
    for picture in NEEDS_TARGET:
        assert figures[picture].get_suptitle().startswith("Target 'clicked'. ")
        assert figures[f"{picture}_target_2"].get_suptitle().startswith("Target 'bought'. ")
    assert "Target" not in figures["bytes_by_part"].get_suptitle()


def test_the_page_holds_them_all_in_files_that_may_be_replaced(
    two: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "PICTURES", {name: PICTURES[name] for name in ("auc_size", "calibration")})
    page = two.save(tmp_path / "report")
    text = page.read_text(encoding="utf-8")
    assert "Calibration: bought" in text and "Quality on validation: bought" in text
    assert {path.name for path in page.parent.iterdir()} <= KNOWN
    assert (page.parent / "auc_size_target_2.png").stat().st_size > 1000


def test_scores_of_every_target_are_checked(two: Report) -> None:
    broken = two.variants[0].scores.copy()
    broken[3, 1] = 1.5
    with pytest.raises(ScoringError, match="probabilities"):
        replace(two.variants[0], scores=broken)


def test_a_report_of_one_target_has_no_word_of_targets(make_report) -> None:
    one = make_report(2, 2000)
    assert list(one.each) == [""] and isinstance(one.baseline.evaluation, Evaluation)
    assert list(draw_pictures(one)) == list(PICTURES)
