"""`sensitivity` on whole networks of others, and on one that has trained with rounding."""

from __future__ import annotations

import pytest
from foreign.styles import STYLES
from networks import spread

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate, Cluster, LowRank, Prune, PruneUnits
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.models.rebuild import inlined
from tfshop.probing import sensitivity


@pytest.mark.parametrize("style", ["nested", "shared_layers", "interactions", "normalized", "attention"])
def test_networks_of_others_are_tried_whole(style: str, foreign_log: Splits, shown: list[float]) -> None:
    keras.utils.set_random_seed(0)
    model = STYLES[style](foreign_log.schema)
    spread(model)
    found = sensitivity(model, foreign_log, [Prune(0.8), PruneUnits(0.5), LowRank(rank=2), Cluster(4), Export()])
    assert shown[0] == sum(shown[1:]) == len(found.trials)
    assert {trial.technique for trial in found.trials} == {"Prune", "PruneUnits", "LowRank", "Cluster", "Quantize"}
    assert all(trial.logit_error > 0 for trial in found.trials)
    weighted = {layer.name for layer in inlined(model).layers if layer.weights}
    assert weighted == {*found.layers} | {row["layer"] for row in found.left_alone if row["layer"] in weighted}
    for layer in found.layers:
        left = {row["pass"] for row in found.left_alone if row["layer"] == layer}
        assert left == set(found.techniques) - {trial.technique for trial in found.trials if trial.layer == layer}


def test_a_network_that_trained_with_rounding_loses_nothing_by_it(foreign_log: Splits) -> None:
    """Its ranges are those of the file, its kernels on the grid: to the last bit, or all but."""
    model = STYLES["normalized"](foreign_log.schema)
    trained = QAT(epochs=1).apply(Candidate(model, foreign_log.schema), foreign_log, 0).model
    passes = [Export(), Cluster(4), PruneUnits(0.5), LowRank(rank=2)]
    found = {(t.technique, t.layer): t.logit_error for t in sensitivity(trained, foreign_log, passes).trials}
    rounded = {layer: error for (name, layer), error in found.items() if name == "Quantize"}
    assert rounded == pytest.approx(dict.fromkeys(("first", "second", "third"), 0.0), abs=1e-3)
    assert min(error for (name, _), error in found.items() if name != "Quantize") > 0.01
