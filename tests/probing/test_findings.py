"""What follows from a table of trials, and what is written of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from tfshop.compression import Candidate, Prune
from tfshop.data import Splits
from tfshop.errors import TfshopError
from tfshop.evaluation.trial import Trial
from tfshop.probing import Sensitivity

LOSSES = {
    ("first", "Prune"): {0.5: 0.0, 0.8: 0.0004, 0.9: 0.01},
    ("second", "Prune"): {0.5: 0.002, 0.8: 0.0001, 0.9: 0.05},
    ("third", "Prune"): {0.5: -0.0001, 0.8: 0.0, 0.9: 0.0003},
    ("first", "Quantize"): {8: 0.0, 4: 0.03},
}


def planted() -> Sensitivity:
    trials = tuple(
        Trial(
            layer=layer,
            role="dense",
            technique=technique,
            strength=strength,
            setting=f"{strength:g}",
            auc_loss=loss,
            low=loss - 1e-3,
            high=loss + 1e-3,
            log_loss=loss / 3,
            logit_error=0.1 + 1 / 3,
            bytes_saved=int(1000 * strength) if strength < 1 else int(1000 / strength),
            multiplies_saved=0,
            by_target={"clicked": loss},
        )
        for (layer, technique), strengths in LOSSES.items()
        for strength, loss in strengths.items()
    )
    return Sensitivity("planted", 1234, trials, ({"layer": "t", "class": "Embedding", "pass": "s", "reason": "r"},))


def test_layers_are_ranked_by_their_worst_trial() -> None:
    found = planted()
    assert [(trial.layer, trial.auc_loss) for trial in found.ranked()] == [
        ("second", 0.05),
        ("first", 0.03),
        ("third", 0.0003),
    ]
    assert found.worst(2) == ["second", "first"]
    assert found.worst(2, "Prune", 0.8) == ["first", "second"]
    assert found.hurt("Prune", 0.9) == ["second", "first"]
    assert found.hurt("Prune", 0.9, limit=0.02) == ["second"]
    assert found.hurt("Quantize", 8) == []


def test_the_strongest_setting_has_no_milder_one_that_loses_more() -> None:
    assert planted().strongest("Prune") == {"first": 0.8, "second": None, "third": 0.9}
    assert planted().strongest("Prune", limit=0.02) == {"first": 0.9, "second": 0.8, "third": 0.9}
    assert planted().strongest("Quantize") == {"first": 8}


def test_prune_takes_the_strongest_setting_of_each_layer(trained_mlp: Any, clicks: Splits) -> None:
    names = {"first": "dense_0", "second": "dense_1", "third": "logit"}
    found = replace(planted(), trials=tuple(replace(trial, layer=names[trial.layer]) for trial in planted().trials))
    step = Prune(layers=found.strongest("Prune", limit=0.0003), schedule="one_shot", epochs=0)
    assert step.layers == {"dense_0": 0.5, "dense_1": None, "logit": 0.9}
    step.check(trained_mlp, clicks.schema)
    pruned = step.apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)
    zeros = {name: float((pruned.model.get_layer(name).get_weights()[0] == 0).mean()) for name in names.values()}
    assert zeros == pytest.approx({"dense_0": 0.5, "dense_1": 0.0, "logit": 0.9}, abs=0.03)
    reasons = {row["layer"]: row["reason"] for row in pruned.history[-1].notes["left_alone"]}
    assert reasons["dense_1"] == "a sparsity of 0 was asked of it"


def test_what_was_not_tried_is_said() -> None:
    with pytest.raises(TfshopError, match=r"'Cluster'.*Prune at 0.5"):
        planted().worst(1, "Cluster")


def test_json_brings_everything_back() -> None:
    found = planted()
    assert Sensitivity.from_json(found.to_json()) == found
    for text in ("{", "[]", '{"format": 99}'):
        with pytest.raises(TfshopError, match="to_json"):
            Sensitivity.from_json(text)
    data = json.loads(found.to_json())
    del data["trials"][0]["role"]
    with pytest.raises(TfshopError, match="role"):
        Sensitivity.from_json(json.dumps(data))


def test_the_folder_has_the_table_and_a_picture_with_something_in_it(tmp_path) -> None:
    (tmp_path / "other.txt").write_text("stays")
    found = planted()
    assert found.save(tmp_path) == tmp_path
    assert Sensitivity.from_json((tmp_path / "sensitivity.json").read_text()) == found
    table = pd.read_csv(tmp_path / "sensitivity.csv")
    assert table["auc_loss"].tolist() == found.table()["auc_loss"].tolist()
    assert "auc_loss_clicked" not in table
    pixels = imread(tmp_path / "sensitivity.png")[..., :3]
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
    assert "<svg" in (tmp_path / "sensitivity.svg").read_text()
    assert (tmp_path / "other.txt").read_text() == "stays"


def test_the_text_has_a_line_a_layer() -> None:
    lines = str(planted()).splitlines()
    assert lines[0].startswith("planted: 11 trials on 1,234 validation rows")
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["second", "first", "third"]
    assert "AUC loss +0.0500 [+0.0490, +0.0510], saves 900 B" in lines[1]


def test_a_loss_outside_its_interval_is_refused() -> None:
    with pytest.raises(TfshopError, match="inside its interval"):
        replace(planted().trials[0], low=0.5)
