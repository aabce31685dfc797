"""The headline says what the numbers say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tfshop.evaluation import AucDifference
from tfshop.report.verdict import judge, missed_limits


@pytest.fixture
def baseline(report):
    return report.baseline


@pytest.fixture
def variant(report):
    """Half the size, timed, with a difference that each test plants."""
    return report.variants[0]


def with_difference(variant, difference, low, *, validation_low=None):
    test = AucDifference(difference, low, difference + 0.0002, 0.0001, 0.5)
    validation = AucDifference(difference, validation_low or low, difference + 0.0002, 0.0001, 0.5)
    changed = replace(variant.evaluation, auc_difference_test=test, auc_difference_validation=validation)
    return replace(variant, evaluation=changed)


def test_headline_names_size_speed_and_auc(variant, baseline):
    sentence = judge(with_difference(variant, -0.0002, -0.0004), baseline, {}).sentence
    assert sentence == "4.0x smaller, 1.2x faster at batch 128, AUC -0.0002 [-0.0004, +0.0000]"


def test_a_larger_and_slower_file_is_called_so(variant, baseline):
    sentence = judge(baseline, variant, {}).sentence
    assert sentence == "4.0x larger, 1.2x slower at batch 128"


def test_speed_is_left_out_where_nothing_was_timed(variant, baseline):
    untimed = replace(variant, evaluation=replace(variant.evaluation, latency=None))
    assert "batch" not in judge(untimed, baseline, {}).sentence


@pytest.mark.parametrize(("low", "badge"), [(-0.00049, "lost nothing that matters"), (-0.0005, "may have lost 0.0005")])
def test_lost_nothing_is_judged_by_the_lower_end(variant, baseline, low, badge):
    assert judge(with_difference(variant, -0.0001, low), baseline, {}).badge == badge


def test_limits_are_judged_on_validation_not_on_test(variant):
    good_on_test = with_difference(variant, -0.0001, -0.0002, validation_low=-0.0025)
    assert missed_limits(good_on_test, {"max_auc_drop": 0.001}) == (
        "max_auc_drop 0.001: the lower end on validation is -0.0025, 0.0015 too low",
    )
    bad_on_test = with_difference(variant, -0.001, -0.0025, validation_low=-0.00101)
    assert missed_limits(bad_on_test, {"max_auc_drop": 0.0011}) == ()


def test_a_missed_size_says_by_how_much(variant, baseline):
    verdict = judge(variant, baseline, {"max_size_bytes": variant.evaluation.size_bytes - 2_000})
    assert verdict.good is False
    assert "2.00 kB too many" in verdict.missed[0]


def test_no_limits_means_none_missed(variant):
    assert missed_limits(variant, {}) == ()
    assert missed_limits(variant, {"max_auc_drop": None, "max_size_bytes": None}) == ()
