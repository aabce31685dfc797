"""Kernels share few numbers, in the network and in the bytes."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from networks import spread
from sklearn.metrics import roc_auc_score

from tfshop._keras import keras, tf
from tfshop.compression import QAT, Candidate, Cluster, Prune
from tfshop.compression._tfmot import ClusteringAlgorithm
from tfshop.compression._tfmot_clustering import SortedLookup, in_wrapper, refine
from tfshop.compression.roles import layers_with
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.export import Export, Plan, chain
from tfshop.models import build_model
from tfshop.runtime import count_zeros, read_graph
from tfshop.training import predict

NAMES = ("dense_0", "dense_0_numeric", "dense_1")
Named = Callable[[str], Candidate]


def kernels(model: Any, names: tuple[str, ...] = NAMES) -> dict[str, np.ndarray]:
    return {name: model.get_layer(name).get_weights()[0] for name in names}


def stored(content: bytes, shapes: set[tuple[int, ...]]) -> list[np.ndarray]:
    """Kernels of some shapes as the file stores them: levels of int8, or floats; (outputs, inputs)."""
    graph = read_graph(content)
    products = [operator for operator in graph.operators if operator.kind == "FULLY_CONNECTED"]
    found = [graph.tensors[operator.inputs[1]] for operator in products]
    return [tensor.stored() for tensor in found if tensor.shape in shapes]


@pytest.fixture(scope="module")
def clustered(candidate: Named, clicks: Splits) -> Candidate:
    """The perceptron with eight numbers a kernel."""
    return Cluster(8).apply(candidate("mlp"), clicks, seed=0)


@pytest.fixture(scope="module")
def shapes(candidate: Named) -> set[tuple[int, ...]]:
    """Of the treated kernels in a file."""
    return {kernel.T.shape for kernel in kernels(candidate("mlp").model).values()}


def test_each_kernel_of_the_float_file_has_so_many_numbers(
    clustered: Candidate, exported: Callable[[str, str], bytes], clicks: Splits, shapes: set[tuple[int, ...]]
) -> None:
    content = Export("float32").to_bytes(clustered.model, clicks)
    counts = [len(np.unique(kernel)) for kernel in stored(content, shapes)]
    assert counts == [8, 8, 8] == list(clustered.history[-1].notes["distinct_values"].values())
    before = exported("mlp", "float32")
    assert all(len(np.unique(kernel)) > 200 for kernel in stored(before, shapes))
    # 3 bits of 32 are left of each of its weights
    saved = len(gzip.compress(before)) - len(gzip.compress(content))
    weights = sum(kernel.size for kernel in kernels(clustered.model).values())
    assert len(content) == pytest.approx(len(before), rel=0.01) and saved > 2.5 * weights


def test_the_int8_file_has_as_many_levels_a_channel_and_a_smaller_download(
    clustered: Candidate, exported: Callable[[str, str], bytes], clicks: Splits, shapes: set[tuple[int, ...]]
) -> None:
    """Each channel has a scale of its own, so that the whole kernel has more levels than numbers."""
    content = Export("int8", 512).to_bytes(clustered.model, clicks)
    before = exported("mlp", "int8")
    wide = [kernel for kernel in stored(content, shapes) if kernel.shape[1] > 8]
    assert wide and all(len(np.unique(row)) <= 8 for kernel in wide for row in kernel)
    assert max(len(np.unique(kernel)) for kernel in wide) > 8
    assert all(
        np.mean([len(np.unique(row)) for row in kernel]) > 12
        for kernel in stored(before, shapes)
        if kernel.shape[1] > 12
    )
    weights = sum(kernel.size for kernel in kernels(clustered.model).values())
    assert len(gzip.compress(before)) - len(gzip.compress(content)) > 0.2 * weights


def test_the_network_still_ranks_and_its_numbers_were_trained(
    clustered: Candidate, candidate: Named, clicks: Splits
) -> None:
    labels = clicks.validation.labels
    before = roc_auc_score(labels, predict(candidate("mlp").model, clicks.validation))
    assert roc_auc_score(labels, predict(clustered.model, clicks.validation)) > before - 0.005
    still = Cluster(8, learning_rate=1e-12).apply(candidate("mlp"), clicks, seed=0)
    for name, kernel in kernels(clustered.model).items():
        start = np.unique(kernels(still.model)[name])
        assert np.abs(np.unique(kernel) - start).max() > 1e-4
        nearest = np.abs(kernels(candidate("mlp").model)[name][..., None] - start).argmin(axis=-1)
        np.testing.assert_allclose(kernels(still.model)[name], start[nearest], atol=1e-6)


def test_zeros_of_pruning_stay_and_are_one_of_the_numbers(
    pruned: Candidate, clicks: Splits, shapes: set[tuple[int, ...]]
) -> None:
    result = Cluster(8).apply(pruned, clicks, seed=0)
    for name, kernel in kernels(result.model).items():
        assert (kernel[kernels(pruned.model)[name] == 0] == 0).all()
        assert len(np.unique(kernel)) <= 8
    assert result.history[-1].notes["zeros_kept_in"] == list(NAMES)
    for mode in ("float32", "int8"):
        content, before = (Export(mode, 512).to_bytes(one.model, clicks) for one in (result, pruned))
        zeros, size = count_zeros(content)
        assert zeros / size >= count_zeros(before)[0] / size - 1e-9, mode
    assert len(gzip.compress(content)) < len(gzip.compress(before))


def test_zeros_of_layers_that_are_not_shared_stay_too(pruned: Candidate, brief: Splits) -> None:
    result = Cluster(8, roles=("head",)).apply(pruned, brief, seed=0)
    assert all((kernel[kernels(pruned.model)[name] == 0] == 0).all() for name, kernel in kernels(result.model).items())
    assert len(np.unique(kernels(result.model, ("logit",))["logit"])) == 8


def test_numbers_start_where_they_are_told_to(candidate: Named, brief: Splits) -> None:
    starts = {
        start: np.unique(
            kernels(Cluster(6, start, learning_rate=1e-12).apply(candidate("mlp"), brief, seed=0).model)["dense_1"]
        )
        for start in ("kmeans++", "linear", "density")
    }
    assert all(len(values) == 6 for values in starts.values())
    for one, other in combinations(starts, 2):
        assert not np.allclose(starts[one], starts[other], atol=1e-4), (one, other)


def test_numbers_are_laid_among_the_trained_weights() -> None:
    """TF-MOT lays them among those it finds when its wrapper is built, which would be fresh ones."""
    layer = keras.layers.Dense(40, name="layer")
    layer.build((None, 50))
    layer.set_weights([100 * layer.get_weights()[0], np.zeros(40)])
    wrapper = in_wrapper(layer, tf.TensorShape((None, 50)), 8, "linear")
    wrapper.build(tf.TensorShape((None, 50)))
    kernel = layer.get_weights()[0]
    expected = np.linspace(kernel.min(), kernel.max(), 8)
    np.testing.assert_allclose(wrapper.cluster_centroids["kernel"].numpy(), expected, rtol=1e-5)


def test_the_means_of_their_weights_are_nearer_to_them() -> None:
    """TF-MOT starts from single weights, and a short training leaves them about there."""
    layer = keras.layers.Dense(40, name="layer")
    layer.build((None, 50))
    wrapper = in_wrapper(layer, tf.TensorShape((None, 50)), 8, "kmeans++")
    wrapper.build(tf.TensorShape((None, 50)))
    weights = layer.get_weights()[0].ravel()

    def error() -> float:
        centroids = wrapper.cluster_centroids["kernel"].numpy()
        return float(np.mean(np.min((weights[:, None] - centroids) ** 2, axis=1)))

    before = error()
    refine(wrapper)
    assert error() < 0.8 * before


def test_the_sorted_lookup_finds_what_tf_mots_own_finds() -> None:
    generator = np.random.default_rng(0)
    centroids = tf.Variable(generator.normal(size=13).astype(np.float32))
    weights = tf.constant(generator.normal(size=(30, 20)).astype(np.float32))
    found = SortedLookup(centroids).get_pulling_indices(weights)
    np.testing.assert_array_equal(found, ClusteringAlgorithm(centroids).get_pulling_indices(weights))


def test_tables_einsums_and_experts_are_shared_too(ids_alone: Splits) -> None:
    settings = {"dcn_mix": {"num_crosses": 1, "num_experts": 2, "rank": 4}, "fibinet": {"bilinear": "each"}}
    for network, treated in [("dcn_mix", "cross_0_experts"), ("fibinet", "EinsumDense")]:
        model = build_model(network, ids_alone.schema, dimension=4, hidden=(16,), **settings[network])
        spread(model)
        (name,) = [la.name for la in model.layers if treated in (la.name, type(la).__name__)][:1]
        step = Cluster(5, roles=("dense", "cross", "table", "other"))
        result = step.apply(Candidate(model, ids_alone.schema), ids_alone, seed=0)
        for shared in (name, "table"):
            assert len(np.unique(result.model.get_layer(shared).get_weights()[0])) == 5, (network, shared)
        assert type(result.model.get_layer(name)) is type(model.get_layer(name))


def test_what_cannot_be_shared_is_left_alone_with_the_reason(clicks: Splits, brief: Splits) -> None:
    ids = keras.Input((3,), dtype="int32", name="ids")
    fields = keras.layers.Embedding(max(clicks.schema.tables.values()), 4, name="table")(ids)
    attended = keras.layers.MultiHeadAttention(2, 3, name="attention")(fields, fields)
    hidden = keras.layers.Dense(16, activation="relu", name="hidden")(keras.layers.Flatten()(attended))
    narrow = keras.layers.Dense(1, name="narrow")(keras.layers.Dense(2, name="small")(hidden))
    score = keras.layers.Activation("sigmoid")(keras.layers.Add()([narrow, keras.layers.Dense(1, name="wide")(hidden)]))
    result = Cluster(40).apply(Candidate(keras.Model(ids, score, name="net"), clicks.schema), brief, seed=0)
    reasons = {row["layer"]: row["reason"] for row in result.history[-1].notes["left_alone"]}
    assert result.history[-1].notes["layers"] == ["hidden"]
    assert "cannot hold MultiHeadAttention" in reasons["attention"]
    assert (
        "no more than 40 weights" in reasons["small"] and "'table'" in reasons["table"] and "'head'" in reasons["wide"]
    )


def test_zeros_are_no_weights_to_share() -> None:
    read = keras.Input((20,))
    model = keras.Model(read, keras.layers.Dense(10, name="pruned")(read))
    kernel = np.zeros((20, 10), np.float32)
    kernel[0, :6] = np.arange(6) + 1
    model.get_layer("pruned").set_weights([kernel, np.zeros(10)])
    assert "no more than 8 weights" in Cluster(8).obstacle(model.get_layer("pruned"), model)
    assert Cluster(4).obstacle(model.get_layer("pruned"), model) == ""


def test_several_targets_are_shared(trained_several: Any, two_targets: Splits) -> None:
    result = Cluster(4).apply(Candidate(trained_several, two_targets.schema), two_targets, seed=0)
    names = layers_with(result.model, ("dense",))
    treated = result.history[-1].notes["layers"]
    assert set(treated) <= set(names) and treated
    assert all(len(np.unique(result.model.get_layer(name).get_weights()[0])) <= 4 for name in treated)
    assert result.model.output_names == list(two_targets.schema.outputs.values())


def test_order_and_json(candidate: Named) -> None:
    plan = chain(Prune(0.5), Cluster(12, "density"), Export("int8"))
    assert Plan.from_json(plan.to_json()) == plan
    with pytest.raises(
        PlanError, match=r"step 2 \(Prune\) comes after Cluster and would undo its shared weights.*Fix:"
    ):
        chain(Cluster(), Prune(0.5))
    with pytest.raises(PlanError, match=r"step 2 \(Cluster\) comes after QAT and would undo its ranges"):
        chain(QAT(), Cluster())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clusters": 2}, "clusters is 2. Expected 3 … 256"),
        ({"clusters": 16.0}, "clusters is 16.0"),
        ({"clusters": 300}, "clusters is 300"),
        ({"initialization": "random"}, "initialization is 'random'. Expected one of kmeans"),
        ({"roles": ("tower",)}, "Cluster cannot treat role 'tower'"),
    ],
)
def test_settings_out_of_range_are_refused_at_construction(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Cluster(**settings)
