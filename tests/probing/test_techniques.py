"""What each technique makes of a kernel, and what it says it saves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfshop.compression import QAT, LowRank, Prune, PruneUnits
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.export import Export, chain
from tfshop.probing.bits import Bits
from tfshop.probing.material import Material
from tfshop.probing.rank import Rank
from tfshop.probing.techniques import TECHNIQUES, techniques_of
from tfshop.probing.units import Units
from tfshop.probing.zeros import Zeros


@pytest.fixture(scope="module")
def material(trained_mlp: Any, clicks: Splits) -> Material:
    return Material(trained_mlp, ("table", "dense_0", "dense_1", "logit"), clicks, seed=0)


def kernel_of(material: Material, name: str) -> np.ndarray:
    return np.asarray(material.model.get_layer(name).kernel)


def test_zeros_are_as_many_as_asked_and_the_smallest(material: Material) -> None:
    before = kernel_of(material, "dense_1")
    change = Zeros().change(material, "dense_1", 0.7)
    after = change.kernels["dense_1"]
    assert (after == 0).mean() == pytest.approx(0.7, abs=1 / after.size)
    assert np.array_equal(after[after != 0], before[after != 0])
    assert np.abs(before[after == 0]).max() <= np.abs(after[after != 0]).min()
    assert 0.8 * 4 * 0.7 * before.size < change.bytes_saved < 4 * 0.7 * before.size
    assert change.multiplies_saved == 0


def test_fixed_units_are_the_smallest_and_give_their_mean(material: Material, clicks: Splits) -> None:
    change = Units().change(material, "dense_1", 0.5)
    kernel = kernel_of(material, "dense_1")
    order = np.argsort(np.abs(kernel).sum(axis=0))
    assert set(change.fixed) == set(order[:16].tolist())
    assert not change.kernels
    means = material.output_means("dense_1")
    assert change.fixed == {unit: pytest.approx(means[unit]) for unit in change.fixed}
    assert means.min() >= 0 and means.max() > 0.05  # of a ReLU
    assert change.bytes_saved == 4 * 16 * 65 and change.multiplies_saved == 16 * 64


def test_a_kernel_of_lower_rank_has_that_rank(material: Material) -> None:
    change = Rank().change(material, "dense_1", 0.25)
    after = change.kernels["dense_1"]
    assert np.linalg.matrix_rank(after, tol=1e-4) == 8
    assert change.multiplies_saved == 64 * 32 - 8 * (64 + 32)
    assert change.bytes_saved == 4 * change.multiplies_saved
    assert "does not pay" in str(Rank().refuses(material, "dense_1", 0.9))
    assert Rank().refuses(material, "dense_1", 1.0) is None  # nothing is factored, nothing to pay


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_have_as_many_levels_as_bits(material: Material, bits: int) -> None:
    before = kernel_of(material, "dense_1")
    change = Bits().change(material, "dense_1", bits)
    after = change.kernels["dense_1"]
    step = np.abs(before).max(axis=0) / (2 ** (bits - 1) - 1)
    assert np.abs(after - before).max(axis=0) == pytest.approx(step / 2, rel=0.6)
    assert (np.abs(after - before) <= step / 2 + 1e-6).all()
    assert max(len(np.unique(column)) for column in after.T) <= 2**bits - 1
    assert change.bytes_saved == before.size * (4 - bits / 8) - 4 * 32


def test_rows_of_a_table_have_scales_of_their_own(material: Material) -> None:
    after = Bits().change(material, "table", 2).kernels["table"]
    largest = np.abs(np.asarray(material.model.get_layer("table").embeddings)).max(axis=1)
    assert np.abs(after).max(axis=1) == pytest.approx(largest)
    assert max(len(np.unique(np.abs(row))) for row in after) == 2


def test_passes_stand_for_their_technique_at_their_strength() -> None:
    assert techniques_of() == tuple(TECHNIQUES.values())
    found = techniques_of([Prune(0.8), Prune(0.9), QAT(), LowRank(), PruneUnits(0.5)])
    assert [(one.name, one.strengths) for one in found] == [
        ("Prune", (0.8, 0.9)),
        ("Quantize", (8,)),
        ("LowRank", Rank().strengths),
        ("PruneUnits", (0.5,)),
    ]
    assert techniques_of(LowRank(rank=0.3))[0].strengths == (0.3,)
    assert techniques_of(PruneUnits(multiplies=0.5))[0].strengths == Units().strengths
    assert techniques_of("QAT")[0].strengths == Bits().strengths


def test_a_plan_stands_for_its_passes() -> None:
    assert [one.name for one in techniques_of(chain(Prune(0.5), Export("int8")))] == ["Prune", "Quantize"]
    assert [one.name for one in techniques_of(chain(Prune(0.5), Export("float16")))] == ["Prune"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Zeros((1.0,)), "sparsity is 1.0"),
        (lambda: Zeros((0.5,), "size"), "importance"),
        (lambda: Units((-0.1,)), "share is -0.1"),
        (lambda: Rank((0.0,)), "rank is 0.0"),
        (lambda: Bits((1,)), "bits is 1"),
        (lambda: Bits((2.5,)), "bits is 2.5"),
        (lambda: techniques_of(Export("float16")), "rounds no weights"),
        (lambda: techniques_of(["Prun"]), "'Prun'"),
    ],
)
def test_strengths_out_of_range_are_refused_at_once(wrong: Any, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        wrong()
