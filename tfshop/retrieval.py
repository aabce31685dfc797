"""Two towers as two files: the item's runs once an item, the user's on the phone or the server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._console import say
from tfshop._folders import new_folder, require_replaceable
from tfshop._keras import keras
from tfshop.artifact import Artifact, Golden
from tfshop.compression.rebuild import copy_model
from tfshop.data.narrowing import narrow_inputs, narrow_schema, narrow_splits
from tfshop.data.schema import Schema
from tfshop.data.split import Split, Splits
from tfshop.errors import ArtifactError, AuditError
from tfshop.evaluation.audit import PARITY_ROWS, audit_structure
from tfshop.evaluation.retrieval import KS, Recall, cosines, measure_recall
from tfshop.export import Export, Plan
from tfshop.models.two_tower import SIDES, features_of_tower
from tfshop.runtime import Scorer
from tfshop.training.catalogue import item_column
from tfshop.training.checks import require_functional
from tfshop.training.retrieval import vectors_of
from tfshop.training.scoring import outputs_of

FIGURES = "retrieval.json"
# Least mean cosine between a file's vectors and the Keras tower's. Below it something is broken, not merely rounded.
LEAST_COSINE: Mapping[str, float] = {"float32": 0.99999, "float16": 0.999, "int8_io": 0.9}
LEAST_COSINE_OF_OTHERS = 0.95


@dataclass(frozen=True)
class Parity:
    """How close a tower's file is to its Keras model, on rows of validation.

    Attributes:
        cosine_mean: Mean cosine of the two vectors of a row.
        cosine_least: The least.
    """

    cosine_mean: float
    cosine_least: float


@dataclass(frozen=True, eq=False)
class Towers:
    """Both files, and what was measured on them.

    Attributes:
        user: Artifact of the user's tower; its schema has the user's features only.
        item: Artifact of the item's tower.
        parity: Side to how close its file is to the Keras tower.
        recall: "validation" and "test" to what the two files retrieve.
        float_recall: The same of the Keras towers.

    Example:
        >>> towers = Towers.load("tflite/towers")  # doctest: +SKIP
        >>> vectors = Scorer(towers.item)(towers.item.schema.encode(items))  # doctest: +SKIP
        >>> towers.recall["test"].recall[10], towers.parity["item"].cosine_mean  # doctest: +SKIP
    """

    user: Artifact
    item: Artifact
    parity: Mapping[str, Parity]
    recall: Mapping[str, Recall]
    float_recall: Mapping[str, Recall]

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write `user/`, `item/` (an artifact each) and `retrieval.json`, beside their place and renamed there.

        Raises:
            TfshopError: Where the folder holds something else.
        """
        require_replaceable(folder, FIGURES)
        with new_folder(folder) as fresh:
            self.user.save(fresh / "user")
            self.item.save(fresh / "item")
            (fresh / FIGURES).write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")
        return Path(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Towers:
        """Read a folder back, verifying both artifacts.

        Raises:
            ArtifactError: For a folder that `save` did not write, or one that was altered.
        """
        place = Path(folder)
        artifacts = {side: Artifact.load(place / side) for side in SIDES}
        try:
            content = json.loads((place / FIGURES).read_text(encoding="utf-8"))
            parity = {side: Parity(**content["parity"][side]) for side in SIDES}
            figures = (
                {part: Recall.from_dict(content[name][part]) for part in ("validation", "test")}
                for name in ("recall", "float_recall")
            )
            return cls(artifacts["user"], artifacts["item"], parity, *figures)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"{place / FIGURES} is not readable ({type(error).__name__}: {error}). Expected a folder written by "
                "Towers.save. Fix: export the towers again."
            ) from error

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain data."""
        return {
            "parity": {side: vars(parity) for side, parity in self.parity.items()},
            "recall": {part: recall.to_dict() for part, recall in self.recall.items()},
            "float_recall": {part: recall.to_dict() for part, recall in self.float_recall.items()},
        }

    def __str__(self) -> str:
        """What the files retrieve, beside the float towers and a list of the most popular items."""
        lines = []
        for k, recall in self.recall["validation"].recall.items():
            floats = self.float_recall["validation"].recall[k]
            popular = self.recall["validation"].popularity_recall[k]
            lines.append(f"recall@{k} {recall:.4f} (float {floats:.4f}, most popular {popular:.4f})")
        sizes = ", ".join(f"{side} {len(getattr(self, side).model_bytes):,} bytes" for side in SIDES)
        return f"validation: {'; '.join(lines)}; {sizes}"


def export_towers(
    model: Any, data: Splits, exporter: Export | None = None, *, ks: Sequence[int] = KS, item: str | None = None
) -> Towers:
    """Export each tower to a file of its own, and measure what the two retrieve together.

    Args:
        model: A two-tower network, trained; also one that went through passes.
        data: The splits it was trained on.
        exporter: What kind of file; None for `Export()`.
        ks: Lengths of the lists that recall is measured for.
        item: The id feature that says which item a row is about; None for the item tower's first one.

    Returns:
        Both artifacts; each takes the packed inputs of its own features and gives a vector, float32
        (rows, vector_width).

    Raises:
        ModelError: For a network without two towers.
        PlanError: For an exporter that cannot take it.
        AuditError: For a file that lost something that matters.

    Example:
        >>> towers = export_towers(model, data, Export("int8"))  # doctest: +SKIP
        >>> towers.save("tflite/mine"); Scorer("tflite/mine/user")(inputs).shape  # doctest: +SKIP
        (3, 32)
    """
    require_functional(model)
    exporter = exporter or Export()
    exporter.check(model, data.schema)
    column = item_column(model, data.schema, item)
    names = {side: features_of_tower(model, data.schema, side) for side in SIDES}
    artifacts, parity = {}, {}
    for side in SIDES:
        say(f"exporting the {side} tower ({exporter.mode})")
        tower = tower_model(model, data.schema, side)
        artifacts[side], parity[side] = _export(tower, narrow_splits(data, names[side]), exporter)
    files = embed_with({side: artifact.model_bytes for side, artifact in artifacts.items()}, names)
    return Towers(
        artifacts["user"],
        artifacts["item"],
        parity,
        recall=measure_recall(files, data, column, ks),
        float_recall=measure_recall(lambda side, split: vectors_of(model, split, side), data, column, ks),
    )


def evaluate_retrieval(
    model: Any, data: Splits, *, ks: Sequence[int] = KS, item: str | None = None
) -> dict[str, Recall]:
    """Recall of a two-tower network on validation and test: every item of the training rows is scored.

    Args:
        model: A two-tower network.
        data: Splits.
        ks: Lengths of the lists.
        item: The id feature that says which item a row is about; None for the item tower's first one.

    Raises:
        ModelError: For a network without two towers.

    Example:
        >>> evaluate_retrieval(model, data)["validation"].recall[10]  # doctest: +SKIP
    """
    require_functional(model)
    column = item_column(model, data.schema, item)
    return measure_recall(lambda side, split: vectors_of(model, split, side), data, column, ks)


def tower_model(model: Any, schema: Schema, side: str) -> Any:
    """One tower of a two-tower network, with weights of its own.

    Args:
        model: The whole network; left as it is.
        schema: Its schema.
        side: "user" or "item".

    Returns:
        Functional model. Inputs: those of `narrow_schema(schema, features of the side)`. Output: `vector`, float32
        (batch, vector_width).
    """
    names = features_of_tower(model, schema, side)
    copied = copy_model(model)  # cutting a graph apart changes the layers' notes on who feeds them
    specs = narrow_schema(schema, names).input_specs()
    cuts = {name: copied.get_layer(f"{side}_{name}").output for name in specs}
    inner = keras.Model(cuts, copied.get_layer(f"{side}_vector").output, name="vector")  # the output has its name
    inputs = {name: keras.Input(shape=t.shape[1:], dtype=t.dtype, name=name) for name, t in cuts.items()}
    return keras.Model(inputs, inner(inputs), name=f"{side}_tower")


def embed_with(files: Mapping[str, bytes], names: Mapping[str, Sequence[str]]) -> Callable[[str, Split], Any]:
    """Vectors of a side by its file, for rows of the whole schema."""
    scorers = {side: Scorer(content, num_threads=2) for side, content in files.items()}

    def embed(side: str, split: Split) -> NDArray[np.float32]:
        vectors = scorers[side](narrow_inputs(split.inputs, split.schema, names[side]))
        return np.asarray(vectors, np.float32).reshape(split.num_rows, -1)

    return embed


def _export(tower: Any, data: Splits, exporter: Export) -> tuple[Artifact, Parity]:
    content = exporter.to_bytes(tower, data)
    audited = audit_structure(content, tower, data)
    parity = _parity(audited.scorer, tower, data.validation, exporter.mode)
    notes = {
        "tower": tower.name,
        "cosine_mean": parity.cosine_mean,
        "cosine_least": parity.cosine_least,
        "zeroed_rows": audited.zeroed_rows,
    }
    artifact = Artifact(
        model_bytes=content,
        schema=data.schema,
        plan=Plan((), exporter).to_dict(),
        golden=Golden.of(content, data.validation),
        history=({"name": "export_towers", "settings": {}, "notes": notes, "curve": []},),
    )
    return artifact, parity


def _parity(scorer: Scorer, tower: Any, validation: Split, mode: str) -> Parity:
    rows = validation.take(min(PARITY_ROWS, validation.num_rows), seed=0)
    expected = np.asarray(outputs_of(tower, rows), np.float32)
    found = np.asarray(scorer.score_split(rows), np.float32).reshape(expected.shape)
    values = cosines(found, expected)
    parity = Parity(float(values.mean()), float(values.min()))
    least = LEAST_COSINE.get(mode, LEAST_COSINE_OF_OTHERS)
    if not parity.cosine_mean >= least:
        raise AuditError(
            f"vectors of the {mode} file of {tower.name!r} have a mean cosine of {parity.cosine_mean:.4f} with the "
            f"Keras tower's, on {rows.num_rows:,} rows. Expected at least {least}. Fix: more calibration_rows, or "
            "Export('float16')."
        )
    return parity
