"""Pruning reaches what was asked for, and the zeros are still there in the file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tfshop.compression import Candidate, Prune
from tfshop.compression.roles import layers_with
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.export import Export
from tfshop.runtime import count_zeros

from .conftest import ASKED


def share_of_zeros(model: Any, role: str = "dense") -> float:
    kernels = [model.get_layer(name).get_weights()[0] for name in layers_with(model, (role,))]
    return sum((kernel == 0).sum() for kernel in kernels) / sum(kernel.size for kernel in kernels)


@pytest.mark.parametrize(("steps", "batch_size"), [(1, 200), (2, 100), (3, 67), (5, 40), (50, 4)])
def test_the_sparsity_asked_for_is_reached_however_short_the_run(
    steps: int, batch_size: int, candidate: Callable[[str], Candidate], clicks: Splits
) -> None:
    data = replace(clicks, train=clicks.train.take(200).with_batch_size(batch_size))
    assert data.train.num_batches == steps
    result = Prune(ASKED).apply(candidate("mlp"), data, seed=0)
    assert share_of_zeros(result.model) == pytest.approx(ASKED, abs=0.005)
    assert result.history[-1].notes["sparsity"] == pytest.approx(share_of_zeros(result.model), abs=1e-9)
    assert share_of_zeros(result.model, "head") == 0


def test_the_polynomial_schedule_rises_to_what_was_asked_and_then_rests(pruned: Candidate) -> None:
    curve = [row for row in pruned.history[-1].curve if "validation_auc" not in row]
    sparsities = [row["sparsity"] for row in curve]
    assert [row["step"] for row in curve] == list(range(1, 20))
    assert sparsities == sorted(sparsities)
    assert sparsities[0] < 0.3 and len({round(value, 3) for value in sparsities}) >= 8
    resting = [row["step"] for row in curve if row["sparsity"] == pytest.approx(ASKED, abs=0.005)]
    assert len(resting) >= 6, "nothing was left for the weights to recover in"


def test_the_constant_schedule_is_there_from_the_first_step(
    candidate: Callable[[str], Candidate], clicks: Splits
) -> None:
    data = replace(clicks, train=clicks.train.take(200).with_batch_size(40))
    result = Prune(0.6, schedule="constant").apply(candidate("mlp"), data, seed=0)
    assert share_of_zeros(result.model) == pytest.approx(0.6, abs=0.005)
    steps = [row["sparsity"] for row in result.history[-1].curve if "validation_auc" not in row]
    assert len(steps) == 5 and steps == pytest.approx([0.6] * 5, abs=0.005)


def test_the_row_of_an_epoch_tells_its_sparsity(pruned: Candidate) -> None:
    (end,) = [row for row in pruned.history[-1].curve if "validation_auc" in row]
    assert end["sparsity"] == pytest.approx(ASKED, abs=0.005)


def test_the_smallest_weights_go_and_the_large_ones_stay(
    pruned: Candidate, candidate: Callable[[str], Candidate]
) -> None:
    before = np.abs(candidate("mlp").model.get_layer("dense_1").get_weights()[0])
    after = pruned.model.get_layer("dense_1").get_weights()[0]
    assert before[after != 0].mean() > 2 * before[after == 0].mean()
    largest = before > np.quantile(before, 0.95)
    assert (after[largest] != 0).mean() > 0.95


def test_the_pruned_network_still_ranks(
    pruned: Candidate, candidate: Callable[[str], Candidate], clicks: Splits
) -> None:
    """It fine-tuned: a network that was only cut would have lost its bearings."""
    kept = pruned.history[-1].notes["fit"]["epochs"][-1]["validation_auc"]
    assert kept > 0.78


def test_pruned_file_keeps_its_zeros(pruned: Candidate, exported: Callable[[str, str], bytes], clicks: Splits) -> None:
    """Counted in the bytes; the unpruned file shows that the count can fail."""
    for mode in ("float32", "int8"):
        zeros, size = count_zeros(Export(mode).to_bytes(pruned.model, clicks))
        assert zeros / size >= ASKED - 0.01, mode
        zeros, same_size = count_zeros(exported("mlp", mode))
        assert same_size == size and zeros / size < 0.1, mode


@pytest.mark.parametrize("scope", ["local", "global"])  # TF-MOT, and masks of ours
def test_no_zero_has_a_sign(scope: str, candidate: Callable[[str], Candidate], clicks: Splits) -> None:
    """A negative zero is another word to gzip."""
    data = replace(clicks, train=clicks.train.take(200).with_batch_size(40))
    model = Prune(ASKED, scope=scope).apply(candidate("mlp"), data, seed=0).model
    kernels = [model.get_layer(name).get_weights()[0] for name in layers_with(model, ("dense",))]
    assert kernels and not any(np.signbit(kernel[kernel == 0]).any() for kernel in kernels)


@pytest.mark.parametrize(
    ("role", "others"), [("cross", ("dense", "head")), ("table", ("dense", "cross")), ("head", ("dense",))]
)
def test_only_the_roles_asked_for_are_pruned(
    role: str, others: tuple[str, ...], crosses: Candidate, ids_alone: Splits
) -> None:
    result = Prune(0.5, roles=(role,)).apply(crosses, ids_alone, seed=0)
    assert share_of_zeros(result.model, role) == pytest.approx(0.5, abs=0.02)
    assert all(share_of_zeros(result.model, other) == 0 for other in others)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": 1.0}, "sparsity is 1.0. Expected a fraction in [0, 1)"),
        ({"sparsity": -0.1}, "sparsity is -0.1"),
        ({"sparsity": float("nan")}, "sparsity is nan"),
        (
            {"roles": ("dense", "zz")},
            "Prune cannot treat role 'zz'. Expected roles from dense, cross, table, head, other",
        ),
        ({"roles": ()}, "Prune has no roles"),
        ({"schedule": "linear"}, "schedule is 'linear'. Expected one of polynomial, constant, one_shot, adaptive"),
    ],
)
def test_settings_out_of_range_are_refused_at_construction(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=re.escape(message)):
        Prune(**settings)


@pytest.mark.parametrize("roles", [("cross",), ("tower",), ("dense", "tower")])
def test_roles_that_cannot_be_pruned_here_are_refused(roles: tuple[str, ...], trained_mlp: Any, clicks: Splits) -> None:
    """A misspelt role beside a good one would otherwise be left out without a word."""
    with pytest.raises(PlanError, match=r"Prune.*role.*Fix:"):
        Prune(roles=roles).check(trained_mlp, clicks.schema)
