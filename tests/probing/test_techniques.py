"""What each technique makes of a kernel, and what it says it saves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfshop.compression import PASSES, QAT, Candidate, Cluster, Distill, LowRank, Prune, PruneUnits, Threshold
from tfshop.compression.rebuild import copy_model
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.evaluation.measured import downloaded_bytes
from tfshop.export import Export, chain
from tfshop.probing.bits import Bits
from tfshop.probing.material import Material
from tfshop.probing.rank import Rank
from tfshop.probing.shared import Shared
from tfshop.probing.techniques import STAND_FOR, TECHNIQUES, WITHOUT, techniques_of
from tfshop.probing.units import Units
from tfshop.probing.zeros import Asked, Zeros


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
    assert 0.7 * 4 * 0.7 * before.size < change.bytes_saved < 4 * 0.7 * before.size
    assert change.multiplies_saved == 0
    assert not np.signbit(after[after == 0]).any()  # half of them below zero would be a second number to gzip


def test_zeros_follow_pattern_and_threshold(material: Material) -> None:
    before = kernel_of(material, "dense_1")
    (grouped,) = techniques_of(Prune(pattern="2:4"))
    after = grouped.change(material, "dense_1", *grouped.strengths).kernels["dense_1"]
    assert ((after.reshape(-1, 4, after.shape[1]) == 0).sum(axis=1) == 2).all()
    (below,) = techniques_of(Prune(threshold=Threshold("max", 0.1)))
    after = below.change(material, "dense_1", *below.strengths).kernels["dense_1"]
    assert np.array_equal(after == 0, np.abs(before) < 0.1 * np.abs(before).max())
    assert (grouped.name, below.name) == ("Prune (2:4)", "Prune (below max)")


@pytest.mark.parametrize(
    "settings", [{"pattern": "block 4x4"}, {"pattern": "block 4x4", "importance": "random"}, {"importance": "random"}]
)
def test_zeros_of_before_are_counted_as_prune_counts_them(
    settings: dict[str, Any], trained_mlp: Any, brief: Splits
) -> None:
    now = {"schedule": "one_shot", "epochs": 0}
    before = Prune(0.5, **now).apply(Candidate(trained_mlp, brief.schema), brief, seed=0)
    step = Prune(0.6, **settings, **now)
    (technique,) = techniques_of(step)
    material = Material(before.model, ("dense_1",), brief, seed=0)
    after = technique.change(material, "dense_1", 0.6).kernels["dense_1"]
    pruned = step.apply(before, brief, seed=0).model.get_layer("dense_1").get_weights()[0]
    np.testing.assert_array_equal(after, pruned)
    assert not after[kernel_of(material, "dense_1") == 0].any() and 0.55 < (after == 0).mean() < 0.9


def test_shared_values_are_as_many_as_asked_and_near(material: Material) -> None:
    before = kernel_of(material, "dense_1")
    errors = []
    for count in (4, 16, 64):
        change = Shared().change(material, "dense_1", count)
        after = change.kernels["dense_1"]
        assert len(np.unique(after)) == count
        means = [before[after == value].mean() for value in np.unique(after)]
        assert np.unique(after) == pytest.approx(means, abs=2e-3)  # each is the mean of its weights
        assert change.bytes_saved == downloaded_bytes(before.tobytes()) - downloaded_bytes(after.tobytes())
        errors.append(np.square(after - before).mean())
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


def test_bytes_saved_are_those_of_the_gzipped_file(material: Material, trained_mlp: Any, clicks: Splits) -> None:
    def downloaded(kernel: np.ndarray) -> int:
        model = copy_model(trained_mlp)
        model.get_layer("dense_1").kernel.assign(kernel)
        return downloaded_bytes(Export("float32").to_bytes(model, clicks))

    before = downloaded(kernel_of(material, "dense_1"))
    for technique, strength in ((Zeros(), 0.8), (Shared(), 16)):
        change = technique.change(material, "dense_1", strength)
        assert change.bytes_saved == pytest.approx(before - downloaded(change.kernels["dense_1"]), rel=0.05)


def test_layers_that_cluster_leaves_alone_are_refused(material: Material) -> None:
    assert "no more than 64 weights" in str(Shared().refuses(material, "logit", 64))
    assert Shared().refuses(material, "dense_1", 64) is None


def test_fixed_units_are_the_smallest_and_give_their_mean(material: Material, clicks: Splits) -> None:
    change = Units(readers=False).change(material, "dense_1", 0.5)
    kernel = kernel_of(material, "dense_1")
    order = np.argsort(np.abs(kernel).sum(axis=0))
    assert set(change.fixed) == set(order[:16].tolist())
    assert not change.kernels
    means = material.output_means("dense_1")
    assert change.fixed == {unit: pytest.approx(means[unit]) for unit in change.fixed}
    assert means.min() >= 0 and means.max() > 0.05  # of a ReLU
    assert change.bytes_saved == 4 * 16 * (65 + 1) and change.multiplies_saved == 16 * (64 + 1)  # the head reads them


def test_a_kernel_of_lower_rank_has_that_rank(material: Material) -> None:
    change = Rank().change(material, "dense_1", 0.25)
    after = change.kernels["dense_1"]
    assert np.linalg.matrix_rank(after, tol=1e-4) == 8
    assert change.multiplies_saved == 64 * 32 - 8 * (64 + 32)
    assert change.bytes_saved == 4 * change.multiplies_saved
    assert np.array_equal(Rank((8,)).change(material, "dense_1", 8).kernels["dense_1"], after)
    plain = Rank((8,), whiten=False, weigh=False).change(material, "dense_1", 8).kernels["dense_1"]
    before = kernel_of(material, "dense_1")
    assert np.square(plain - before).sum() < np.square(after - before).sum()
    alike = Rank((8,), weigh=False).change(material, "dense_1", 8).kernels["dense_1"]
    assert not np.allclose(alike, after)
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


def test_energy_is_kept_as_asked(material: Material) -> None:
    rank = np.linalg.matrix_rank(Rank((0.5,), by_energy=True).change(material, "dense_1", 0.5).kernels["dense_1"], 1e-4)
    losses = material.spectrum("dense_1").losses
    assert losses[rank] <= 0.5 < losses[rank - 1]


def test_rows_of_a_table_have_scales_of_their_own(material: Material) -> None:
    after = Bits().change(material, "table", 2).kernels["table"]
    largest = np.abs(np.asarray(material.model.get_layer("table").embeddings)).max(axis=1)
    assert np.abs(after).max(axis=1) == pytest.approx(largest)
    assert max(len(np.unique(np.abs(row))) for row in after) == 2


def test_passes_stand_for_their_technique_at_their_strength() -> None:
    assert techniques_of() == tuple(TECHNIQUES.values())
    found = techniques_of(
        [Prune(0.8), Prune(0.9), QAT(bits=4), LowRank(rank=8), PruneUnits(0.5), Cluster(16), Export()]
    )
    assert [(one.name, one.strengths) for one in found] == [
        ("Prune", (0.8, 0.9)),
        ("Quantize", (4, 8)),
        ("LowRank", (8,)),
        ("PruneUnits", (0.5,)),
        ("Cluster", (16,)),
    ]
    assert techniques_of("QAT")[0].strengths == Bits().strengths


@pytest.mark.parametrize(
    ("step", "name", "strengths"),
    [
        (Prune(0.5, layers={"dense_0": 0.9}), "Prune", (0.5, 0.9)),
        (Prune(0.5, importance="taylor"), "Prune (taylor)", (0.5,)),
        (LowRank(), "LowRank (energy)", (0.99,)),
        (LowRank(energy=0.9, whiten=False), "LowRank (energy, not whitened)", (0.9,)),
        (LowRank(rank={"dense_0": 8, "dense_1": 0.5}), "LowRank", (8, 0.5)),
        (LowRank(rank=8, weigh=False), "LowRank (not weighed)", (8,)),
        (PruneUnits(0.3, importance="activation"), "PruneUnits (activation)", (0.3,)),
        (PruneUnits(0.3, minimum=1), "PruneUnits (at least 1)", (0.3,)),
        (Cluster(8, "linear"), "Cluster (linear)", (8,)),
        (Export("dynamic"), "Quantize (dynamic)", (8,)),
        (Export("int8", ranges="mse"), "Quantize (ranges mse)", (8,)),
        (Export("int8", strip=True, int4=True), "Quantize", (8,)),
    ],
)
def test_settings_of_a_pass_are_those_of_its_technique(step: Any, name: str, strengths: tuple[float, ...]) -> None:
    (found,) = techniques_of(step)
    assert (found.name, found.strengths) == (name, strengths)
    assert len({found.setting(strength) for strength in strengths}) == len(strengths)


def test_a_share_of_its_own_is_tried_on_that_layer_alone(material: Material) -> None:
    def tried(technique: Any) -> dict[str, list[float]]:
        layers = ("dense_0", "dense_1", "logit")
        return {n: [s for s in technique.strengths if technique.refuses(material, n, s) is None] for n in layers}

    own = Prune(0.8, layers={"dense_0": 0.1, "logit": None})
    (found,) = techniques_of(own)
    assert tried(found) == {"dense_0": [0.1], "dense_1": [0.8], "logit": []}
    (both,) = techniques_of([own, Prune(0.9)])
    assert tried(both) == {"dense_0": [0.1, 0.9], "dense_1": [0.8, 0.9], "logit": [0.9]}


def test_every_pass_has_a_technique_or_a_reason() -> None:
    assert {*TECHNIQUES, *STAND_FOR, *WITHOUT} == {*PASSES, "Quantize", "Export"}


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
        (lambda: Shared((2,)), "clusters is 2"),
        (lambda: Shared((16.5,)), "clusters is 16.5"),
        (lambda: Rank((8,), by_energy=True), "rank is 8"),
        (lambda: Zeros((0.5,), pattern="4"), "pattern is '4'"),
        (lambda: techniques_of(["Prun"]), "'Prun'"),
        (lambda: techniques_of(Prune), "the class Prune"),
        (lambda: techniques_of(Distill), "layer by layer"),
        (lambda: techniques_of([Prune(0.5), "DropFeatures"]), "feature_effects"),
        (lambda: techniques_of(PruneUnits(importance="batchnorm")), "batchnorm"),
        (lambda: techniques_of(PruneUnits(multiplies=0.5)), r"PruneUnits\(multiplies=0.5\).*Expected multiplies=None"),
        (lambda: techniques_of(PruneUnits(0.5, multiple_of=8)), "Expected multiple_of=1"),
        (lambda: techniques_of(PruneUnits(0.5, keep=("dense_0",))), "leave keep out"),
        (lambda: techniques_of(LowRank(max_multiplies=0.5)), "shared out among all kernels"),
        (lambda: techniques_of(Prune(0.5, scope="global")), "Expected scope='local'"),
        (lambda: techniques_of(Prune(0.5, randomness=0.5)), "Expected randomness=0.0"),
    ],
)
def test_strengths_out_of_range_are_refused_at_once(wrong: Any, words: str) -> None:
    with pytest.raises(PlanError, match=words):
        wrong()


def test_what_is_asked_of_a_layer_goes_before_what_is_asked_of_its_role() -> None:
    asked = Asked(0.5, (("dense", 0.7), ("dense_0", 0.9)))
    assert [asked.of(name, role) for name, role in (("dense_0", "dense"), ("dense_1", "dense"), ("a", "cross"))] == [
        0.9,
        0.7,
        0.5,
    ]
