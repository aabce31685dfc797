"""What an int16x8 file cannot hold, as far as the network and the schema tell before training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, expm1
from typing import Any

from scipy.stats import norm

from tfshop.data.schema import Schema
from tfshop.layers import MaskedMean, NumericTransform
from tfshop.tables import lookup_layers

LEVELS = 32_767  # above zero
LOG_STEPS = 512  # LiteRT reads a logarithm of int16 off so many straight pieces, from the lowest level to the highest
LOW_SHARE = 0.1  # of the rows: a column more of which lies within the first piece is refused
FEWEST_STEPS = 8.0  # within a standard deviation; with 9.5 a file was off by 5e-3, with half as many by 1.4e-2
LOG1P = "log1p"


@dataclass(frozen=True)
class Column:
    """A numeric column as far as the schema knows it.

    Attributes:
        name: Of the feature.
        is_logarithmic: Whether the network takes its logarithm; mean and deviation are those of the logarithm then.
        mean: Of the training rows.
        deviation: Likewise.
        lowest: Likewise.
        largest: Raw number, by magnitude, that calibration rows are likely to have.
        has_holes: Whether values were missing.
    """

    name: str
    is_logarithmic: bool
    mean: float
    deviation: float
    lowest: float
    largest: float
    has_holes: bool


def int16_obstacle(model: Any, schema: Schema, rows: int) -> str | None:
    """What an int16x8 file of a network would abort on or get wrong, and what is expected; None where nothing is known.

    1. A coded table: see `lookup_obstacle`.
    2. LayerNormalization: LiteRT aborts.
    3. The mean over a history: a SUM of int16 has the range of what it adds, so that every history counts as one id.
    4. A logarithm of numbers over several orders of magnitude: LiteRT takes it from a table of 513.
    5. Columns that are small beside others of their input, or beside their own mean: one scale for all.

    Missing numbers do no harm by themselves: they are told from others in float. What a network makes of numbers that
    it does not scale at all is not known here: the audit of the file judges it.

    Args:
        model: Functional model.
        schema: Fitted.
        rows: Of calibration; a range ends about where so many normally distributed numbers would.
    """
    obstacle = lookup_obstacle(model)
    if obstacle is not None:
        return obstacle
    for layer in model._flatten_layers(include_self=False):
        if type(layer).__name__ == "LayerNormalization":
            return (
                f"{layer.name!r} (LayerNormalization): LiteRT aborts the whole process that runs such a file. Expected "
                "a network without."
            )
        if isinstance(layer, MaskedMean) and layer.pooling != "sum":
            return (
                f"{layer.name!r} (MaskedMean): its integer sum counts every history as one id, so that means come out "
                "too large. Expected a network without, or pooling='sum'."
            )
    for columns in _inputs(model, schema, rows):
        largest = max(column.largest for column in columns)
        for column in columns:
            reason = _lost_logarithm(column, largest) if column.is_logarithmic else _lost_steps(column, largest)
            if reason:
                return f"{column.name!r}: it {reason}. Expected numbers of one order of magnitude."
    return None


def lookup_obstacle(model: Any) -> str | None:
    """What an int16x8 file makes of coded tables, and what is expected; None for a network without.

    The converter has no list of operators that stay in float here, as it has one in int8.
    """
    name = next(iter(lookup_layers(model)), None)
    if name is None:
        return None
    return (
        f"{name!r}, a coded table: its steps, codebooks and the arithmetic that unpacks codes would be rounded to 16 "
        "bits, so that other rows come out. Expected tables without codes."
    )


def _lost_logarithm(column: Column, largest: float) -> str | None:
    first = 2 * (1 + largest) / LOG_STEPS
    low = exp(column.mean + norm.ppf(LOW_SHARE) * column.deviation)
    if column.lowest < 0 or low >= first:
        return None
    return (
        f"would lose its small numbers: LiteRT has one straight piece for all logarithms of 1 to {first:.3g}, and a "
        f"tenth of the rows lies below {low:.3g} (the largest number of its input is about {largest:.3g})"
    )


def _lost_steps(column: Column, largest: float) -> str | None:
    step = largest / LEVELS * (2 if column.has_holes else 1)  # holes are filled with zeros before they are scaled
    if column.deviation == 0 or column.deviation >= FEWEST_STEPS * step:
        return None
    return (
        f"would have {column.deviation / step:.2g} levels within its standard deviation of {column.deviation:.3g} (the "
        f"largest number of its input is about {largest:.3g})"
    )


def _inputs(model: Any, schema: Schema, rows: int) -> Iterator[Sequence[Column]]:
    """Columns that share an input: those of a transform of ours, or one a feature."""
    features = schema.numeric_features
    named = {tensor.name for tensor in model.inputs}
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, NumericTransform) and len(layer.logarithmic) == len(features):
            flags = layer.logarithmic
            yield [_column(f.name, schema, rows, is_log=flag) for f, flag in zip(features, flags, strict=True)]
            return
    for feature in features:
        if feature.name in named and feature.transform != LOG1P:  # of which there are no statistics but of logarithms
            yield [_column(feature.name, schema, rows, is_log=False)]


def _column(name: str, schema: Schema, rows: int, *, is_log: bool) -> Column:
    seen = schema.statistics[name]
    reach = abs(seen.mean) + norm.ppf(1 - 1 / (rows + 1)) * seen.standard_deviation
    largest = min(max(abs(seen.minimum), abs(seen.maximum)), reach)
    return Column(
        name,
        is_log,
        seen.mean,
        seen.standard_deviation,
        seen.minimum,
        expm1(largest) if is_log else largest,
        seen.missing > 0,
    )
