"""Training through the rounding of coded tables: codes, steps and the dense part find a common optimum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras
from tfshop.compression._table_codecs import table_codecs
from tfshop.compression.candidate import WEIGHTS_ALIKE, Candidate, curve_of, require_fraction
from tfshop.compression.encode_tables import EncodeTables
from tfshop.compression.left_alone import left_alone
from tfshop.compression.masked import zeros_held
from tfshop.compression.rebuild import copy_model
from tfshop.compression.student import loaded, require_teachers
from tfshop.compression.teacher_scores import soft_targets
from tfshop.compression.unread import refuse_unread
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.models.rebuild import fresh, inlined
from tfshop.tables import TableLookup, lookup_layers
from tfshop.tables.reading import codec_of
from tfshop.tables.tuning import TunedTable
from tfshop.training import DistillationLoss, FitSettings, fit
from tfshop.training.adoption import require_copyable
from tfshop.training.scoring import mean_auc
from tfshop.training.settings import STEPS_PER_EXECUTION

SETTLE_EVERY = 200  # steps
PARTS = 3  # of a shorter training, after each of which but the last codes are chosen anew
LAST_SETTLED = 0.9  # of the training


@dataclass(frozen=True)
class TuneTables:
    """Train on with the rows rounded as they are stored; gradients pass the rounding as if it were none.

    Starts from the rows before they were coded, on the grid of the codec, and keeps the codes of before where
    validation AUC was better with them. What an earlier `TuneTables` has learned is where the next one starts. Tables
    that were not trainable before they were coded stay as they are coded.

    Args:
        codec: Codes the tables first, as `EncodeTables` does; None tunes what an earlier pass has coded.
        epochs: Most epochs; the best on validation is kept.
        learning_rate: Step size at the beginning; it falls to nearly nothing along half a cosine, so that rows settle
            on a level.
        dense: Whether the rest of the network learns along.
        weight: Share of the teachers' scores in the loss, in [0, 1]; 0 trains on labels alone.
        teachers: Functional models, or paths of saved ones, beside the first teacher, the network with float tables.
            That is the one before coding; where an earlier pass has coded and kernels have taken projections in, the
            one of short rows in float; where an earlier `TuneTables` has trained the codes, the network as it came in.

    Raises:
        PlanError: At construction for a value out of range; in `check` for a network without coded tables, and for one
            of which none can learn: those of `Float16`, and those that are not trainable.

    Example:
        >>> TuneTables("Int2", epochs=3).weight
        0.9

    References:
        Esser et al., Learned Step Size Quantization, ICLR 2020. Hinton et al., Distilling the Knowledge in a Neural
        Network, 2015.
    """

    name: ClassVar[str] = "TuneTables"
    makes: ClassVar[tuple[str, ...]] = ("codes",)
    preserves: ClassVar[tuple[str, ...]] = (*WEIGHTS_ALIKE, "factors", "units", "features", "scales", "codes")

    codec: Any = None
    epochs: int = 3
    learning_rate: float = 1e-3
    dense: bool = True
    weight: float = 0.9
    teachers: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "codec", None if self.codec is None else codec_of(self.codec))
        teachers = self.teachers if isinstance(self.teachers, tuple | list) else (self.teachers,)
        require_teachers(teachers)
        object.__setattr__(self, "teachers", tuple(teachers))
        if self.weight != 1:
            require_fraction("weight", self.weight)
        FitSettings(epochs=self.epochs, learning_rate=self.learning_rate)
        if self.weight == 0:
            refuse_unread(self, ("teachers",), "weight=0 trains on labels alone", fix="weight=0.9")

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse a network without coded tables that can learn, and teachers that the schema cannot feed."""
        require_copyable(model, schema)
        for teacher in self.teachers:
            loaded(teacher, schema, whose="teacher")
        model = inlined(model)
        lookups = lookup_layers(model)
        learning = [name for name, lookup in lookups.items() if _may_learn(lookup)]
        if self.codec is not None:
            asked = table_codecs(model, schema, self.codec, by=self.name)
            learning += [x for x in asked.codecs if x not in asked.fixed and model.get_layer(x).trainable]
        elif not lookups:
            raise PlanError(
                f"TuneTables finds no coded table in {model.name!r}. Expected one that EncodeTables made. Fix: "
                "chain(EncodeTables('Int2'), TuneTables(), …), or TuneTables('Int2')."
            )
        if not learning:
            raise _nothing_learns(model, "leave TuneTables out" if self.codec is None else "EncodeTables in its place")

    def foreseen(self, model: Any, schema: Schema) -> Any:
        """The network with lookups in the place of the tables it will code, their rows not known yet."""
        return model if self.codec is None else EncodeTables(self.codec).foreseen(model, schema)

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Code where that was asked for, train with rounded rows, and put what was learned into the codes."""
        notes: dict[str, Any] = {}
        coded = candidate
        if self.codec is not None:
            coded = EncodeTables(self.codec).apply(candidate, data, seed)
            notes |= coded.history[-1].notes
        model = inlined(coded.model)
        lookups = lookup_layers(model)
        rows = _rows_before(coded, lookups)
        twins = {
            name: twin
            for name, layer in lookups.items()
            if _may_learn(layer) and (twin := layer.tuned(rows[name])) is not None
        }
        if not twins:
            raise _nothing_learns(model, "leave TuneTables out")
        learner = copy_model(model, lambda layer: twins.get(layer.name) or fresh(layer), unfilled=tuple(twins))
        for layer in learner.layers:
            if not self.dense and layer.name not in twins:  # else what is frozen stays so, inside of a layer too
                layer.trainable = False
        before = mean_auc(model, data.validation)
        with zeros_held(learner, but=tuple(twins)):
            history = self._fitted(learner, self._first_teacher(candidate, coded), data, seed)
        tuned = _put_back(learner, lookups, twins, model)
        after = mean_auc(tuned, data.validation)
        notes |= {
            "validation_auc": {"coded": before, "tuned": after},
            "kept": "tuned" if after >= before else "coded",
            "steps": {name: _change(lookups[name], tuned.get_layer(name)) for name in twins},
            "fit": history.to_dict(),
            "left_alone": left_alone(model, twins, by=self.name, reason=_reason),
        }
        if after < before:
            return candidate.advance(self, model, rows=coded.rows, notes=notes, curve=curve_of(history))
        learned = {name: layer.table() for name, layer in lookup_layers(tuned).items()}
        return candidate.advance(self, tuned, rows=learned, notes=notes, curve=curve_of(history))

    def _first_teacher(self, candidate: Candidate, coded: Candidate) -> Any:
        """The network with float tables: where this pass codes them as it was before, with all numbers of a row.

        Where an earlier tuning has trained the codes, what they stand for.
        """
        before = coded if self.codec is None else candidate
        model = inlined(before.model)
        lookups = lookup_layers(model)
        return _in_floats(model, lookups, _rows_before(before, lookups))

    def _fitted(self, learner: Any, teacher: Any, data: Splits, seed: int) -> Any:
        steps = self.epochs * data.train.num_batches
        tables = [layer for layer in learner.layers if isinstance(layer, TunedTable)]
        every = min(SETTLE_EVERY, -(-steps // PARTS))
        settings: dict[str, Any] = {
            "callbacks": (_Settling(tables, every),),
            "steps_per_execution": min(STEPS_PER_EXECUTION, every),
            "epochs": self.epochs,
            "learning_rate": keras.optimizers.schedules.CosineDecay(self.learning_rate, steps, alpha=0.02),
            "patience": None,
            "seed": seed,
            "description": "tuning coded tables",
        }
        if not self.weight:
            return fit(learner, data, FitSettings(**settings))
        others = [loaded(other, data.schema, whose="teacher") for other in self.teachers]
        targets = soft_targets([teacher, *others], data.train)
        loss = DistillationLoss(self.weight, from_logits=False)
        return fit(learner, data, FitSettings(**settings, loss=loss), train_split=targets)


class _Settling(keras.callbacks.Callback):
    """Codes that are chosen by more than rounding are chosen anew every so many steps, but not near the end."""

    def __init__(self, tables: Sequence[TunedTable], every: int) -> None:
        super().__init__()
        self._tables, self._every, self._due = tables, every, every

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Settle where it is due; several steps may run in one call."""
        steps = self.params["steps"] * self.params["epochs"]
        step = int(self.model.optimizer.iterations.numpy())
        if self._due <= step <= steps * LAST_SETTLED:
            self._due = step + self._every
            for table in self._tables:
                table.settle()


def _rows_before(candidate: Candidate, lookups: Mapping[str, TableLookup]) -> dict[str, NDArray[np.float32]]:
    """Rows of lookups before they were coded, or as they were tuned since, as far as that is known."""
    known = candidate.rows
    return {name: known[name] if name in known else layer.table() for name, layer in lookups.items()}


def _in_floats(model: Any, lookups: Mapping[str, TableLookup], rows: Mapping[str, NDArray[np.float32]]) -> Any:
    """The network with the rows of before."""

    def replace(layer: Any) -> Any:
        if layer.name not in lookups:
            return fresh(layer)
        mask_zero = lookups[layer.name].mask_zero
        return keras.layers.Embedding(layer.num_rows, layer.dimension, mask_zero=mask_zero, name=layer.name)

    made = copy_model(model, replace, unfilled=tuple(lookups))
    for name in lookups:
        made.get_layer(name).set_weights([rows[name]])
    return made


def _put_back(learner: Any, lookups: Mapping[str, TableLookup], twins: Mapping[str, TunedTable], model: Any) -> Any:
    """The network with codes of what the tables have learned."""

    def replace(layer: Any) -> Any:
        made = fresh(lookups[layer.name]) if layer.name in twins else fresh(layer)
        made.trainable = model.get_layer(layer.name).trainable if not isinstance(made, TableLookup) else made.trainable
        return made.filled(lookups[layer.name].after(twins[layer.name])) if layer.name in twins else made

    return copy_model(learner, replace, unfilled=tuple(twins))


def _change(before: TableLookup, after: TableLookup) -> dict[str, float]:
    """How many bytes of the codes are others."""
    old, new = before.stored(), after.stored()
    codes = [key for key in old if old[key].dtype == np.uint8]
    changed = sum(int(np.count_nonzero(old[key] != new[key])) for key in codes)
    return {"changed_bytes": changed, "bytes": sum(old[key].nbytes for key in codes)}


def _may_learn(lookup: TableLookup) -> bool:
    return bool(lookup.learns and lookup.trainable)


def _nothing_learns(model: Any, fix: str) -> PlanError:
    return PlanError(
        f"TuneTables finds no codes in {model.name!r} that can learn. Expected any but those of Float16, of a table "
        f"that is trainable. Fix: {fix}, another codec, or trainable=True where rows may change."
    )


def _reason(layer: Any, _: Any) -> str:
    if not isinstance(layer, TableLookup):
        return "it is no coded table"
    return "its codes cannot learn" if layer.trainable else "its rows are not to learn: trainable=False"
