"""Every setting of pruning does what it says, in the network and in the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores, same_weights
from networks import spread

from tfshop._keras import keras, tf
from tfshop.compression import Candidate, Prune, Threshold
from tfshop.compression.importance import weight_scores
from tfshop.compression.roles import layers_with
from tfshop.data import Splits
from tfshop.export import Export, convert
from tfshop.models import build_model
from tfshop.runtime import count_zeros, read_graph

NAMES = ("dense_0", "dense_0_numeric", "dense_1")
NOW = {"schedule": "one_shot", "epochs": 0}
Named = Callable[[str], Candidate]


def kernels(candidate: Candidate, names: tuple[str, ...] = NAMES) -> dict[str, np.ndarray]:
    """Of those of some layers that there are."""
    layers = {layer.name: layer for layer in candidate.model.layers}
    return {name: layers[name].get_weights()[0] for name in names if name in layers}


def sparsity(values: dict[str, np.ndarray]) -> float:
    return sum((value == 0).sum() for value in values.values()) / sum(value.size for value in values.values())


def stored_kernels(content: bytes) -> list[np.ndarray]:
    """Kernels of the file as it stores them, (outputs, inputs) each."""
    graph = read_graph(content)
    products = [operator for operator in graph.operators if operator.kind == "FULLY_CONNECTED"]
    return [graph.tensors[operator.inputs[1]].values() for operator in products]


@pytest.fixture(scope="module")
def mlp(candidate: Named) -> Candidate:
    """The trained perceptron of all features."""
    return candidate("mlp")


def test_without_training_the_weights_that_stay_are_as_they_were(mlp: Candidate, brief: Splits) -> None:
    result = Prune(0.6, **NOW).apply(mlp, brief, seed=0)
    for name, after in kernels(result).items():
        before = kernels(mlp)[name]
        limit = np.quantile(np.abs(before), 0.6)
        np.testing.assert_array_equal(after, np.where(np.abs(before) > limit, before, 0), err_msg=name)
    assert "fit" not in result.history[-1].notes and result.history[-1].curve == ()
    others = [layer for layer in mlp.model.layers if layer.name not in NAMES]
    assert all(same_weights(layer.get_weights(), result.model.get_layer(layer.name).get_weights()) for layer in others)


def test_one_shot_holds_its_first_choice_while_the_rest_trains(mlp: Candidate, brief: Splits) -> None:
    cut = kernels(Prune(0.6, **NOW).apply(mlp, brief, seed=0))
    trained = Prune(0.6, schedule="one_shot").apply(mlp, brief, seed=0)
    for name, after in kernels(trained).items():
        np.testing.assert_array_equal(after == 0, cut[name] == 0)
        assert (after[after != 0] != cut[name][after != 0]).mean() > 0.7  # some units are dead
    assert all(row["sparsity"] == pytest.approx(0.6, abs=0.001) for row in trained.history[-1].curve)


@pytest.mark.parametrize("engine", ["TF-MOT", "masks"])
def test_both_engines_reach_the_same(engine: str, plain: Candidate, ids_alone: Splits) -> None:
    """|w| as a name is TF-MOT's; as a callable it is ours: same shares, nearly the same weights."""
    importance = "magnitude" if engine == "TF-MOT" else lambda kernel, moments: np.abs(kernel)
    result = Prune(0.7, importance=importance).apply(plain, ids_alone, seed=0)
    assert result.history[-1].notes["engine"] == engine
    assert {name: pytest.approx(0.7, abs=0.005) for name in kernels(plain)} == {
        name: (value == 0).mean() for name, value in kernels(result).items()
    }
    before = np.abs(kernels(plain)["dense_1"])
    assert (kernels(result)["dense_1"][before > np.quantile(before, 0.9)] != 0).mean() > 0.95


def test_one_threshold_over_the_whole_model_takes_more_where_weights_are_small(mlp: Candidate, brief: Splits) -> None:
    result = Prune(0.7, scope="global", **NOW).apply(mlp, brief, seed=0)
    before, after = kernels(mlp), kernels(result)
    everything = np.abs(np.concatenate([value.ravel() for value in before.values()]))
    limit = np.sort(everything)[round(0.7 * everything.size)]
    assert all(((np.abs(before[name]) >= limit) == (after[name] != 0)).all() for name in NAMES)
    shares = [(value == 0).mean() for value in after.values()]
    assert sparsity(after) == pytest.approx(0.7, abs=0.001) and max(shares) - min(shares) > 0.02


@pytest.mark.parametrize("scope", ["local", "global"])
def test_overrides_by_name_and_by_role_go_before_the_rest(scope: str, candidate: Named, brief: Splits) -> None:
    layers = {"dense_1": 0.2, "cross": 0.9, "cross_1_kernel": 0.0, "logit": 0.25}
    result = Prune(0.5, scope=scope, layers=layers, **NOW).apply(candidate("dcn"), brief, seed=0)
    names = ("dense_1", "cross_0_kernel", "cross_1_kernel", "cross_2_kernel", "logit")
    found = {name: (value == 0).mean() for name, value in kernels(result, names).items()}
    assert found == pytest.approx(dict(zip(names, (0.2, 0.9, 0.0, 0.9, 0.25), strict=True)), abs=0.01)
    assert sparsity(kernels(result, ("dense_0", "dense_0_numeric"))) == pytest.approx(0.5, abs=0.01)
    reasons = {row["layer"]: row["reason"] for row in result.history[-1].notes["left_alone"]}
    assert reasons["cross_1_kernel"] == "a sparsity of 0 was asked of it" and "logit" not in reasons


@pytest.mark.parametrize("importance", ["activation", "taylor", "random", lambda kernel, moments: -np.abs(kernel)])
def test_what_goes_is_what_the_importance_calls_least(importance: Any, mlp: Candidate, clicks: Splits) -> None:
    scores = weight_scores(mlp.model, NAMES, importance, clicks, seed=3)
    result = kernels(Prune(0.5, importance=importance, **NOW).apply(mlp, clicks, seed=3))
    smallest = kernels(Prune(0.5, **NOW).apply(mlp, clicks, seed=3))
    for name, after in result.items():
        gone = after == 0
        assert scores[name][gone].max() <= scores[name][~gone].min() and gone.mean() == pytest.approx(0.5, abs=0.01)
        assert (gone != (smallest[name] == 0)).mean() > 0.02, "the same weights go as by |w|"


@pytest.mark.parametrize("importance", ["taylor", "random"])
def test_sparsity_rises_and_masks_hold_under_every_importance(
    importance: str, plain: Candidate, ids_alone: Splits
) -> None:
    result = Prune(0.6, importance=importance, epochs=3).apply(plain, ids_alone, seed=0)
    rising = [row["sparsity"] for row in result.history[-1].curve]
    assert rising == sorted(rising) and rising[0] < 0.3 and sparsity(kernels(result)) == pytest.approx(0.6, abs=0.001)


def test_a_random_half_costs_more_than_the_smallest(mlp: Candidate, clicks: Splits) -> None:
    """The control: importance is worth something only where this fails by chance alone."""
    rows = first_rows(clicks.validation.inputs, 1000)
    before = keras_scores(mlp.model, rows)

    def gap(**settings: Any) -> float:
        pruned = Prune(0.5, **settings, **NOW).apply(mlp, clicks, seed=0).model
        return float(np.abs(keras_scores(pruned, rows) - before).mean())

    assert gap(importance="taylor") < gap(importance="random") / 2
    assert gap() < gap(randomness=1.0) < gap(importance="random")


@pytest.mark.parametrize(("pattern", "share", "schedule"), [("2:4", 0.5, "constant"), ("1:4", 0.75, "polynomial")])
def test_groups_of_inputs_lie_so_in_the_file(
    pattern: str,
    share: float,
    schedule: str,
    plain: Candidate,
    ids_alone: Splits,
) -> None:
    """Along the last axis of the file's kernels, which is that of the inputs."""
    result = Prune(share, pattern=pattern, schedule=schedule).apply(plain, ids_alone, seed=0)
    assert result.history[-1].notes["engine"] == ("TF-MOT" if schedule == "constant" else "masks")
    kept, group = (int(part) for part in pattern.split(":"))
    shapes = {value.T.shape for value in kernels(result).values()}
    for mode in ("float32", "int8") if share == 0.5 else ("float32",):
        stored = [k for k in stored_kernels(Export(mode, 512).to_bytes(result.model, ids_alone)) if k.shape in shapes]
        assert len(stored) == 2
        for kernel in stored:
            assert (np.count_nonzero(kernel.reshape(-1, group), axis=1) <= kept).all(), mode
            assert (kernel == 0).mean() == pytest.approx(share, abs=0.02)
    free = [k for k in stored_kernels(convert(plain.model, "float32")) if k.shape in shapes]
    assert all(np.count_nonzero(kernel.reshape(-1, group), axis=1).max() > kept for kernel in free)


@pytest.mark.parametrize("settings", [{"schedule": "constant"}, {}, {"scope": "global"}, {"importance": "taylor"}])
def test_blocks_lie_so_in_the_file(settings: dict[str, Any], plain: Candidate, ids_alone: Splits) -> None:
    """4 inputs x 8 outputs: turned in the file."""
    result = Prune(0.6, pattern="block 4x8", **settings).apply(plain, ids_alone, seed=0)
    stored = stored_kernels(Export("float32").to_bytes(result.model, ids_alone))
    shapes = {kernel.T.shape for kernel in kernels(result).values()}
    zeros = size = 0
    for kernel in (kernel for kernel in stored if kernel.shape in shapes):
        rows, columns = kernel.shape
        counts = np.count_nonzero(kernel.reshape(rows // 8, 8, columns // 4, 4), axis=(1, 3))
        assert set(np.unique(counts)) <= {0, 32} and (counts == 0).any()
        zeros, size = zeros + (kernel == 0).sum(), size + kernel.size
    assert zeros / size == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize(("kind", "value"), [("quantile", 0.3), ("max", 0.2), ("mean", 0.5)])
@pytest.mark.parametrize("scope", ["local", "global"])
def test_thresholds_cut_what_lies_below_them(
    kind: str, value: float, scope: str, mlp: Candidate, brief: Splits
) -> None:
    before = {name: np.abs(kernel) for name, kernel in kernels(mlp).items()}
    result = kernels(Prune(threshold=Threshold(kind, value), scope=scope, **NOW).apply(mlp, brief, seed=0))
    together = np.concatenate([kernel.ravel() for kernel in before.values()])
    for name, after in result.items():
        of = before[name] if scope == "local" else together
        limit = {"quantile": np.quantile(of, value), "max": value * of.max(), "mean": value * of.mean()}[kind]
        np.testing.assert_array_equal(after == 0, before[name] < limit)
        assert 0.05 < (after == 0).mean() < 0.6


def test_a_threshold_trains_like_the_sparsity_it_comes_to(plain: Candidate, ids_alone: Splits) -> None:
    by_threshold = Prune(threshold=Threshold("quantile", 0.5)).apply(plain, ids_alone, seed=0)
    assert by_threshold.history[-1].notes["engine"] == "TF-MOT"
    assert same_weights(by_threshold.model, Prune(0.5).apply(plain, ids_alone, seed=0).model)


def test_chance_follows_the_seed(mlp: Candidate, brief: Splits) -> None:
    step = Prune(0.5, randomness=1.0, **NOW)
    one, again, other = (step.apply(mlp, brief, seed=seed).model for seed in (1, 1, 2))
    assert same_weights(one, again) and not same_weights(one, other)


@pytest.mark.parametrize("scope", ["local", "global"])  # one by TF-MOT, one by our masks
def test_penalties_draw_weights_towards_zero(scope: str, plain: Candidate, dense_clicks: Splits) -> None:
    def trained(**penalties: float) -> dict[str, np.ndarray]:
        return kernels(Prune(0.3, scope=scope, learning_rate=5e-3, **penalties).apply(plain, dense_clicks, seed=0))

    unpenalized, l1, group = trained(), trained(l1=1e-2), trained(group_lasso=1e-2)
    for name in unpenalized:
        assert np.abs(l1[name]).sum() < 0.7 * np.abs(unpenalized[name]).sum()
        norms = [np.linalg.norm(kernel[name], axis=0) for kernel in (unpenalized, group)]
        assert norms[1].sum() < 0.8 * norms[0].sum()
        assert norms[1].std() / norms[1].mean() > norms[0].std() / norms[0].mean(), "no unit fades before the others"


def test_zeros_of_an_earlier_pruning_stay(plain: Candidate, ids_alone: Splits) -> None:
    """In the layers pruned again, and in those that are not; TF-MOT alone would let them come back."""
    first = Prune(0.7, **NOW).apply(plain, ids_alone, seed=0)
    again = Prune(0.3, schedule="polynomial").apply(first, ids_alone, seed=0)
    table = Prune(0.5, roles=("table",)).apply(first, ids_alone, seed=0)
    chosen = Prune(0.5, roles=("table",), scope="global").apply(first, ids_alone, seed=0)
    assert [one.history[-1].notes["engine"] for one in (table, chosen)] == ["TF-MOT", "masks"]
    for result in (again, table, chosen):
        assert all((value[kernels(first)[name] == 0] == 0).all() for name, value in kernels(result).items())
    assert sparsity(kernels(table, ("table",))) == pytest.approx(0.5, abs=0.02)


def test_several_targets_are_pruned_by_the_losses_of_both(trained_several: Any, two_targets: Splits) -> None:
    before = Candidate(trained_several, two_targets.schema)
    step = Prune(0.6, importance="taylor", scope="global")
    result = step.apply(before, two_targets, seed=0)
    zeros, size = count_zeros(Export("int8", 512).to_bytes(result.model, two_targets))
    names = tuple(layers_with(result.model, ("dense",)))
    assert sparsity(kernels(result, names)) == pytest.approx(0.6, abs=0.01) and zeros / size > 0.5
    assert result.model.output_names == before.model.output_names


def test_einsums_experts_and_recurrences_are_pruned_too(brief: Splits, ids_alone: Splits) -> None:
    settings = {"dcn_mix": {"num_crosses": 1, "num_experts": 2, "rank": 4}, "fibinet": {"bilinear": "each"}, "dien": {}}
    for network, treated in [("dcn_mix", "cross_0_experts"), ("fibinet", "EinsumDense"), ("dien", "InterestGRU")]:
        data = brief if network == "dien" else ids_alone  # it reads a history
        model = build_model(network, data.schema, dimension=4, hidden=(8,), **settings[network])
        spread(model)
        (name,) = [la.name for la in model.layers if treated in (la.name, type(la).__name__)][:1]
        result = Prune(0.5, epochs=1).apply(Candidate(model, data.schema), data, seed=0)
        assert name in result.history[-1].notes["layers"]
        kernel = result.model.get_layer(name).get_weights()[0]
        assert (kernel == 0).mean() == pytest.approx(0.5, abs=0.05), network
        alone = Prune(0.5, roles=("dense",), **NOW).apply(Candidate(model, data.schema), data, seed=0)
        assert (alone.model.get_layer(name).get_weights()[0] != 0).all()


def test_kernels_whose_inputs_are_not_known_are_left_alone_with_the_reason(clicks: Splits, brief: Splits) -> None:
    model = build_model("dien", clicks.schema, dimension=4, hidden=(8,))
    result = Prune(0.5, importance="activation", **NOW).apply(Candidate(model, clicks.schema), brief, seed=0)
    (name,) = [layer.name for layer in model.layers if type(layer).__name__ == "InterestGRU"]
    (row,) = [row for row in result.history[-1].notes["left_alone"] if row["layer"] == name]
    assert "moments" in row["reason"] and (result.model.get_layer(name).get_weights()[0] != 0).all()


def test_a_layer_of_others_names_its_kernels(clicks: Splits, brief: Splits) -> None:
    class Factors(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.factors = self.add_weight(name="factors", shape=(shape[-1], 4))

        def call(self, inputs: Any) -> Any:
            return inputs @ self.factors

        def get_prunable_weights(self) -> list[Any]:
            return [self.factors]

    numbers = keras.Input((2,), name="numeric")
    filled = keras.layers.Lambda(lambda x: tf.where(tf.math.is_nan(x), 0.0, x), name="filled")(numbers)
    score = keras.layers.Dense(1, activation="sigmoid", name="out")(Factors(name="factors")(filled))
    result = Prune(0.5, **NOW).apply(Candidate(keras.Model(numbers, score), clicks.schema), brief, seed=0)
    assert result.history[-1].notes["layers"] == ["factors"]
    assert (result.model.get_layer("factors").get_weights()[0] == 0).mean() == 0.5
