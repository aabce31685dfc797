"""From a Keras model to the bytes of a `.tflite`: what stays float, which ranges, which biases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfshop.errors import ExportError
from tfshop.export import stock
from tfshop.export.bias_correction import Correction, correct_biases
from tfshop.export.groups import lookup_operators, named_operators, operator_groups
from tfshop.export.int16_numbers import lookup_obstacle
from tfshop.export.mixed import AUC, Choice, Search
from tfshop.export.precision import float_operators
from tfshop.export.ranges import chosen_ranges, empty_operators
from tfshop.export.settings import RECORDED, Batches, Mixed, Precision
from tfshop.export.trained import trained_ranges, with_activations, with_trained_ranges, without_ranges
from tfshop.runtime.editing import recorded_ranges, with_ranges
from tfshop.runtime.float_operators import with_float_operators
from tfshop.runtime.graph import read_graph
from tfshop.runtime.integer_rows import with_integer_rows
from tfshop.tables import lookup_layers

__all__ = ["Batches", "Exported", "convert", "export"]

INTEGER_MODES = ("int8", "int8_io")
ROUNDING_MODES = ("float16", "dynamic")  # constants alone, of lookups too, and no list of what they should leave


@dataclass(frozen=True)
class Exported:
    """A file, and what was measured while it was made.

    Attributes:
        content: The bytes of a `.tflite`.
        notes: Sentences for the report: which layers stayed in float, and why.
    """

    content: bytes
    notes: tuple[str, ...] = ()


def convert(model: Any, mode: str, calibration: Batches | None = None) -> bytes:
    """Convert a functional Keras model; `int8` keeps in float what int8 would ruin.

    Args:
        model: Functional tf_keras model.
        mode: Key of `MODES`.
        calibration: Gives batches of inputs by name; needed by the modes that calibrate.

    Returns:
        The bytes of a `.tflite` whose signature has the model's input and output names.

    Raises:
        ExportError: Where the converter fails; its own words are in the message.
    """
    return export(model, mode, calibration, Precision()).content


def export(
    model: Any, mode: str, calibration: Batches | None, precision: Precision, *, auc: AUC | None = None
) -> Exported:
    """`convert`, with a say in ranges, biases and layers.

    Args:
        model: Functional tf_keras model.
        mode: Key of `MODES`.
        calibration: Batches of inputs by name.
        precision: What is asked of the integers; read by "int8" and "int8_io".
        auc: Gives the validation AUC of a file, for `Mixed.max_auc_drop`.

    Raises:
        ExportError: Where the converter fails, and for a layer to be kept in float that is not in the graph.
    """
    if mode not in INTEGER_MODES or calibration is None:
        return Exported(_finished(_whole_way(model, mode, calibration), model))
    graph = _Calibrated(model, mode, calibration, precision)
    notes: list[str] = []
    if precision.mixed is None:
        content = graph.quantized()
    else:
        choice = graph.mixed(precision.mixed, auc)
        content = choice.content
        notes.append(_told(choice))
    if precision.bias_correction:
        content, corrections = correct_biases(graph.content, content, calibration)
        notes.append(_corrected(corrections))
    return Exported(content, tuple(notes))


class _Calibrated:
    """A calibrated float graph with its final ranges, and the operators that stay in float whatever is asked."""

    def __init__(self, model: Any, mode: str, calibration: Batches, precision: Precision) -> None:
        ranges = trained_ranges(model) if precision.keeps_floats else {}
        model = without_ranges(model) if ranges else model
        self._model, self._mode, self._calibration = model, mode, calibration
        self.content = stock.calibrated(model, mode, calibration)
        if precision.ranges != RECORDED:
            chosen = chosen_ranges(self.content, calibration, precision.ranges, precision.percentile)
            self.content = with_ranges(self.content, chosen)
        if ranges:
            self.content = with_trained_ranges(self.content, model, ranges, calibration)
        self._graph = read_graph(self.content)
        self.floats = (
            *float_operators(self._graph, float_head=mode != "int8_io"),
            *empty_operators(self._graph, recorded_ranges(self.content)),
            *named_operators(self._graph, with_activations(model, precision.keep_float), model),
            *lookup_operators(self._graph, model),
        )

    def quantized(self, more: Sequence[str] = ()) -> bytes:
        """The integer file, `more` operators in float."""
        return _finished(stock.quantize(self._model, self._mode, self.content, [*self.floats, *more]), self._model)

    def mixed(self, limits: Mixed, auc: AUC | None) -> Choice:
        """The integer file with the layers in float that hurt most."""
        groups = {
            label: names
            for label, names in operator_groups(self._graph, self._model).items()
            if not set(names) <= set(self.floats)
        }
        return Search(limits, groups, self.quantized, self.content, self._calibration, auc).run()


def _whole_way(model: Any, mode: str, calibration: Batches | None) -> bytes:
    """The stock converter's file, its lookups with the numbers of the network whatever the mode makes of others."""
    if mode == "int16x8" and (obstacle := lookup_obstacle(model)):
        raise ExportError(f"{model.name!r} does not convert to int16x8, for {obstacle} Fix: Export('int8').")
    if mode not in ROUNDING_MODES or not lookup_layers(model):
        return stock.whole_way(model, mode, calibration)
    content, exact = stock.beside_float32(model, mode)
    return with_float_operators(content, exact, lookup_operators(read_graph(exact), model))


def _finished(content: bytes, model: Any) -> bytes:
    """The file with what its lookups ask for and no converter makes."""
    tables = [table for layer in lookup_layers(model).values() for table in layer.integer_rows()]
    return with_integer_rows(content, tables) if tables else content


def _told(choice: Choice) -> str:
    kept = ", ".join(f"{name} ({choice.sensitivities[name]:.2%})" for name in choice.layers) or "none"
    drop = "" if choice.auc_drop is None else f", {choice.auc_drop:+.5f} of validation AUC lost"
    return (
        f"mixed precision: layers left in float, with what each alone changes the logits by: {kept}; the file changes "
        f"them by {choice.change:.2%} of their standard deviation{drop}"
        f"{'' if choice.met else '; the limits asked for were not reached'}"
    )


def _corrected(rows: Sequence[Correction]) -> str:
    if not rows:
        return "bias correction: no quantized product has a bias of its own"
    before, after = (sum(getattr(row, when) for row in rows) / len(rows) for when in ("before", "after"))
    return f"bias correction: mean shift of {len(rows)} products' outputs {before:.1e} before, {after:.1e} after"
