"""What would draw a false picture is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tfshop.errors import TfshopError
from tfshop.report import Report, TrainingCurve


def test_bytes_must_add_up_to_the_file(report):
    with pytest.raises(TfshopError, match="add up to the file's"):
        replace(report.baseline, bytes_by_part={"tables": 5, "dense": 6})


def test_unknown_parts_are_refused(report):
    size = report.baseline.evaluation.size_bytes
    with pytest.raises(TfshopError, match="tables, dense, rest"):
        replace(report.baseline, bytes_by_part={"weights": size})


def test_scores_of_another_length_are_refused(report):
    with pytest.raises(TfshopError, match="scores of 'float32', 3 rows"):
        replace(report.baseline, scores=np.zeros(3))


def test_files_scored_on_different_rows_are_refused(report):
    other = replace(report.variants[0], labels=1 - report.variants[0].labels)
    with pytest.raises(TfshopError, match="other test labels"):
        Report("title", report.baseline, (other,))


def test_names_that_come_twice_are_refused(report):
    with pytest.raises(TfshopError, match="name of its own"):
        Report("title", report.baseline, (report.variants[0], report.variants[0]))


def test_a_report_of_nothing_is_refused(report):
    with pytest.raises(TfshopError, match="at least one other file"):
        Report("title", report.baseline, ())


@pytest.mark.parametrize("rows", [(), ({"loss": 0.5},), ({"step": 1}, {"epoch": 1})])
def test_curves_need_a_place_on_the_x_axis(rows):
    with pytest.raises(TfshopError, match="step or epoch"):
        TrainingCurve("mlp", rows)
