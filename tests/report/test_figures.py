"""Each picture shows the planted numbers, labels its axes, and survives few, many and oddly named files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.layout_engine import ConstrainedLayoutEngine
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from tfshop.report import Report, TrainingCurve, figures
from tfshop.report.figures.calibration import draw_calibration, reliability
from tfshop.report.figures.roc_precision_recall import precision_recall_points, roc_points
from tfshop.report.pictures import PICTURES, draw_pictures, picture_bytes

PNG = b"\x89PNG"


@pytest.mark.parametrize("num_variants", [1, 12])
def test_every_picture_is_drawn_and_labelled(make_report, num_variants, recwarn):
    report = make_report(num_variants, 4_000)
    drawn = draw_pictures(report)
    assert list(drawn) == list(PICTURES)
    for name, figure in drawn.items():
        assert figure.get_suptitle(), name
        assert all(axes.get_xlabel() or axes.get_ylabel() for axes in figure.axes if axes.axison), name
        assert picture_bytes(figure, "png").startswith(PNG)
        assert b"<svg" in picture_bytes(figure, "svg")
    assert not [str(warning.message) for warning in recwarn.list]


def test_nothing_drawn_is_cut_off_or_covered(make_report):
    """The legend lies under every panel, and all text is inside the picture."""
    for name, figure in draw_pictures(make_report(12, 4_000)).items():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        whole = figure.bbox
        legends = [axes.get_legend() for axes in figure.axes if axes.get_legend()]
        assert len(legends) == 1, name
        box = legends[0].get_window_extent(renderer)
        panels = [axes for axes in figure.axes if axes.axison]
        assert box.y1 <= min(axes.get_tightbbox(renderer).y0 for axes in panels) + 2, name
        for axes in panels:
            tight = axes.get_tightbbox(renderer)
            assert tight.x0 >= whole.x0 - 1, name
            assert tight.x1 <= whole.x1 + 1, name
        assert figure._suptitle.get_window_extent(renderer).x1 <= whole.x1, name
        assert figure._supxlabel.get_window_extent(renderer).x1 <= whole.x1, name
        assert figure._supxlabel.get_window_extent(renderer).y1 <= box.y0 + 2, name


@pytest.mark.usefixtures("one_picture")
def test_the_same_report_gives_the_same_bytes(make_report):
    first, second = (draw_pictures(make_report(2, 4_000)) for _ in range(2))
    for kind in ("png", "svg"):
        assert picture_bytes(first["auc_size"], kind) == picture_bytes(second["auc_size"], kind)


def test_a_figure_is_laid_out_once_for_all_kinds_of_files(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    laid_out, execute = [], ConstrainedLayoutEngine.execute
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda *given: (laid_out.append(given), execute(*given)))
    figure = figures.draw_accuracy_recall(report.baseline, report.variants)
    assert picture_bytes(figure, "png").startswith(PNG) and b"<svg" in picture_bytes(figure, "svg")
    assert len(laid_out) == 1


def test_what_was_not_measured_is_not_drawn(make_report):
    report = make_report(2, 4_000, timed=False)
    assert figures.draw_latency_by_batch(report.baseline, report.variants) is None
    assert figures.draw_training_curves(()) is None
    assert "latency_by_batch" not in draw_pictures(report)


def test_dots_sit_at_the_measured_accuracy_and_recall(report):
    figure = figures.draw_accuracy_recall(report.baseline, report.variants)
    for axes, metric in zip(figure.axes, ("accuracy", "recall"), strict=False):
        line = axes.lines[0].get_xdata()[0]
        assert line == pytest.approx(100 * getattr(report.baseline.evaluation.test, metric))
        dots = [container.lines[0].get_xdata()[0] for container in axes.containers]
        expected = [100 * getattr(variant.evaluation.test, metric) for variant in report.variants]
        assert dots == pytest.approx(expected)


def test_points_sit_at_the_measured_difference(report):
    axes = figures.draw_auc_size(report.baseline, report.variants, 0.001).axes[0]
    heights = [container.lines[0].get_ydata()[0] for container in axes.containers]
    assert heights == [variant.evaluation.auc_difference_test.difference for variant in report.variants]
    lines = {line.get_label(): line.get_ydata()[0] for line in axes.lines}
    assert lines["lost nothing: above -0.0005"] == -0.0005
    assert lines["limit on validation: -0.001"] == -0.001


def test_no_limit_line_without_a_limit(report):
    axes = figures.draw_auc_size(report.baseline, report.variants).axes[0]
    assert not [line for line in axes.lines if "limit" in str(line.get_label())]


def test_bars_add_up_to_the_file(report):
    axes = figures.draw_bytes_by_part(report.baseline, report.variants).axes[0]
    widths = np.array([[bar.get_width() for bar in container] for container in axes.containers])
    sizes = [variant.evaluation.size_bytes for variant in (report.baseline, *report.variants)]
    assert widths.sum(axis=0).tolist() == sizes


def test_latency_panel_shows_the_medians_and_names_the_machine(report):
    figure = figures.draw_latency_by_batch(report.baseline, report.variants)
    assert "AMD EPYC 7763 64-Core Processor, one thread" in figure.get_suptitle()
    drawn = figure.axes[0].containers[0].lines[0].get_ydata().tolist()
    assert drawn == [row.p50_us for row in report.baseline.evaluation.latency.rows]


def test_roc_points_keep_the_area(report):
    truth, scores = report.baseline.truth, report.baseline.probabilities
    rates, found = roc_points(truth, scores)
    assert len(rates) <= 500
    assert np.trapezoid(found, rates) == pytest.approx(roc_auc_score(truth, scores), abs=2e-3)


def test_precision_at_a_recall_is_sklearns(report):
    truth, scores = report.baseline.truth, report.baseline.probabilities
    recalls, precisions = precision_recall_points(truth, scores)
    assert len(recalls) <= 500
    place = 200
    threshold = np.sort(scores[truth])[::-1][int(np.ceil(recalls[place] * truth.sum() - 1e-9)) - 1]
    assert recall_score(truth, scores >= threshold) == pytest.approx(recalls[place], abs=1e-3)
    assert precisions[place] == pytest.approx(precision_score(truth, scores >= threshold), abs=1e-3)


def test_few_distinct_scores_do_not_look_less_precise():
    """Rounding to 64 levels costs hardly any order, and so must cost hardly any precision."""
    scores = np.random.default_rng(0).beta(1, 4, 100_000)
    truth = np.random.default_rng(1).random(100_000) < scores
    recalls, exact = precision_recall_points(truth, scores)
    rounded = precision_recall_points(truth, np.round(scores * 64) / 64)[1]
    assert abs(np.mean(rounded - exact)) < 5e-4
    assert len(recalls) == len(exact)


def test_title_of_a_single_file_names_it(make_report):
    report = make_report(1, 4_000)
    title = figures.draw_auc_size(report.baseline, report.variants).get_suptitle().replace("\n", " ")
    assert "'int8' is 4.0x smaller than 'float32'" in title


def test_curves_of_a_file_with_one_score_can_be_drawn():
    truth, scores = np.array([True, False, False, False]), np.full(4, 0.5)
    assert precision_recall_points(truth, scores)[1] == pytest.approx(0.25)
    assert reliability(truth, scores).observed.tolist() == [0.25]


def test_reliability_puts_equal_scores_in_one_bin():
    """Rows sorted by label must not split a tie into a bin of zeros and one of ones."""
    truth = np.repeat([False, True], 500)
    bins = reliability(truth, np.repeat([0.2, 0.5, 0.5, 0.8], 250))
    assert bins.rows.tolist() == [250, 500, 250]
    assert bins.predicted == pytest.approx([0.2, 0.5, 0.8])
    assert bins.observed.tolist() == [0.0, 0.5, 1.0]


def test_reliability_has_ten_bins_of_equal_size():
    scores = np.random.default_rng(0).random(10_000)
    bins = reliability(np.random.default_rng(1).random(10_000) < scores, scores)
    assert bins.rows.tolist() == [1_000] * 10
    assert bins.percentiles.tolist() == [5.0 + 10 * number for number in range(10)]
    assert bins.observed == pytest.approx(bins.predicted, abs=0.05)


def test_sparsity_has_its_own_axis(report):
    figure = figures.draw_training_curves(report.curves, ("float32",))
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert "weights that are zero" in labels
    assert figure.axes[0].get_xlabel() == "step"


def test_curves_without_steps_run_over_epochs_and_without_sparsity_have_one_axis():
    curve = TrainingCurve("mlp", ({"epoch": 1, "loss": 0.4, "validation_auc": 0.8}, {"epoch": 2, "loss": 0.3}))
    figure = figures.draw_training_curves((curve,))
    assert figure.axes[0].get_xlabel() == "epoch"
    assert len([axes for axes in figure.axes if axes.axison]) == 2


def test_one_bin_far_off_does_not_hide_the_others(report: Report) -> None:
    """Scores far too low in the first decile: the ratio's axis becomes logarithmic."""
    baseline = report.baseline
    low = np.where(baseline.probabilities < np.quantile(baseline.probabilities, 0.1), 1e-6, baseline.probabilities)
    off = replace(baseline, name="off", scores=low)
    plain, wide = (draw_calibration(baseline, [variant]).axes[1] for variant in (baseline, off))
    assert plain.get_yscale() == "linear" and wide.get_yscale() == "log"
