"""The page that goes with a file to whoever builds it into an app or a server."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from tfshop.data.features import IdFeature, NumericFeature, SequenceFeature, VectorFeature
from tfshop.data.schema import Schema
from tfshop.evaluation import Evaluation
from tfshop.evaluation.scores import outputs_of_targets
from tfshop.runtime import Scorer, read_graph

HASHED_TEXTS = ("a", "item-42", "Größe 38", "👟")
_PAGES = Environment(
    loader=PackageLoader("tfshop.report", "."),
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701  (Markdown, not HTML)
)


def handover_readme(
    model_bytes: bytes, schema: Schema, *, name: str, golden: tuple[int, float], evaluation: Evaluation | None = None
) -> str:
    """Markdown for the engineer who integrates the file: inputs, ids, golden scores, what was measured.

    `golden` is the number of golden rows and how far scores on another processor may be from theirs.
    """
    scorer = Scorer(model_bytes, schema=schema)
    inputs = [
        {
            "name": input_name,
            "dtype": spec.dtype,
            "shape": "[batch" + "".join(f", {size}" for size in spec.shape) + "]",
            "holds": _holds(schema, input_name),
        }
        for input_name, spec in scorer.inputs.items()
    ]
    return _PAGES.get_template("handover.md.j2").render(
        name=name,
        schema=schema,
        inputs=inputs,
        columns=_columns(schema),
        hashed=_hashed(schema),
        outputs=outputs_of_targets(scorer.outputs, schema),
        vector_width=_vector_width(model_bytes),
        evaluation=evaluation,
        num_golden=golden[0],
        tolerance=golden[1],
    )


def _vector_width(model_bytes: bytes) -> int:
    """Width of the only output where it is a vector, as a tower's is; 0 for scores."""
    graph = read_graph(model_bytes)
    widths = [graph.tensors[index].shape[-1] for index in graph.outputs.values()]
    return int(widths[0]) if len(widths) == 1 and widths[0] > 1 else 0


def hashing_page() -> bytes:
    """What goes with a file whose ids are hashed: the hash in three languages, with its test vectors."""
    return (Path(__file__).parent / "hashing.md").read_bytes()


def vocabulary_file(table: str) -> str:
    """Where a table's vocabulary is inside an artifact; a name that no file can have becomes a hash of it."""
    plain = re.fullmatch(r"[A-Za-z0-9_ -][A-Za-z0-9_. -]{0,99}", table)
    name = table if plain else "table-" + hashlib.sha256(table.encode()).hexdigest()[:16]
    return f"vocabularies/{name}.json"


def _holds(schema: Schema, name: str) -> str:
    """What an input holds, column by column."""
    if name == "ids":
        return ", ".join(_id_column_names(schema))
    if name == "numeric":
        return ", ".join(feature.name for feature in schema.numeric_features) + " (raw numbers; NaN where missing)"
    lists: tuple[SequenceFeature | VectorFeature, ...] = (*schema.sequence_features, *schema.vector_features)
    for feature in lists:
        if feature.input_name == name:
            return feature.name
    return name


def _id_column_names(schema: Schema) -> list[str]:
    """The features of the columns of `ids`, those of several hashes numbered."""
    return [
        feature.name if feature.hashes == 1 else f"{feature.name} (hash {number + 1})"
        for feature in schema.id_features
        for number in range(feature.hashes)
    ]


def _columns(schema: Schema) -> list[dict[str, Any]]:
    """One row a feature: how its raw value becomes a number."""
    return [{"name": feature.name, "rule": _rule(feature, schema)} for feature in schema.features]


def _hashed(schema: Schema) -> list[dict[str, Any]]:
    """How some texts are hashed for each hashed feature: whoever writes the hash anew compares with these."""
    return [
        {"name": feature.name, "rows": [{"text": text, "rows": _rows(feature, schema, text)} for text in HASHED_TEXTS]}
        for feature in schema.id_features
        if feature.is_hashed
    ]


def _rows(feature: IdFeature, schema: Schema, text: str) -> str:
    table = schema.hash_table(feature.table_name)
    assert table is not None  # noqa: S101  (for mypy: the caller chose hashed features)
    return ", ".join(str(row) for row in table.columns([text])[0])


def _rule(feature: Any, schema: Schema) -> str:
    if isinstance(feature, IdFeature):
        table = schema.hash_table(feature.table_name)
        if table is not None:
            seeds = ", ".join(str(table.seed + number) for number in range(table.hashes))
            return f"1 + murmur3(text, seed) mod {table.buckets} for each seed of {seeds}; 0 if missing or empty"
        return f"position in `{vocabulary_file(feature.table_name)}` plus 1; 0 if missing or not there"
    if isinstance(feature, SequenceFeature):
        table = schema.hash_table(feature.table_name)
        each = f"by `{vocabulary_file(feature.table_name)}` as above"
        if table is not None:
            each = f"1 + murmur3(text, {table.seed}) mod {table.buckets}"
        return f"the last {feature.max_length} values, oldest first, each {each}; filled up with 0 at the end"
    if isinstance(feature, VectorFeature):
        return f"{feature.width} floats as they are"
    if isinstance(feature, NumericFeature):
        return "the raw number as float32; NaN if missing. Logarithm and scaling are inside the file"
    return "as it is"
