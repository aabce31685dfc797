"""What a network is trained and judged on: encoded rows, handed out in batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfshop.data.binding import bind
from tfshop.data.mapped import release
from tfshop.data.reading import Rows
from tfshop.data.schema import InputSpec, Schema
from tfshop.data.unknown_ids import as_unknown
from tfshop.errors import DataError

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """The encoded rows of one part of a table, in table order.

    The arrays lie in memory, or are mapped from the files of a `cache_dir`, which are read as they are wanted.

    Args:
        name: "train", "validation" or "test".
        inputs: Input name to array, as `schema.input_specs()` says, first dimension the rows.
        labels: float32, shape (n,), 0 or 1; (n, targets) of several targets. A last axis more where a loss wants more
            than the label, such as a teacher's score.
        groups: int64, shape (n,): equal numbers are the same user (or whatever the schema's group column is); None
            without a group column.
        batch_size: Rows of a batch.
        schema: The fitted schema the rows were encoded with.

    Raises:
        DataError: Where lengths differ, or the batch size is below 1.
    """

    name: str
    inputs: Mapping[str, npt.NDArray[Any]]
    labels: npt.NDArray[np.float32]
    groups: npt.NDArray[np.int64] | None
    batch_size: int
    schema: Schema

    def __post_init__(self) -> None:
        """Check the lengths and the batch size."""
        require_batch_size(self.batch_size)
        lengths = {name: len(array) for name, array in self.inputs.items()}
        if self.groups is not None:
            lengths["groups"] = len(self.groups)
        for name, length in lengths.items():
            if length != len(self.labels):
                raise DataError(
                    f"the {self.name} split has {length:,} rows of {name!r} and {len(self.labels):,} labels. "
                    "Expected as many. Fix: cut all arrays at the same rows."
                )

    def __repr__(self) -> str:
        """Show how large it is and what is in it."""
        shapes = ", ".join(f"{name} {array.shape[1:]}" for name, array in self.inputs.items())
        positive = ", ".join(f"{share:.2%}" for share in self.positive_shares.values())
        return f"Split({self.name!r}, {self.num_rows:,} rows, {positive} positive, {shapes})"

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.labels)

    @property
    def labels_by_target(self) -> dict[str, npt.NDArray[np.float32]]:
        """The labels, one array a target."""
        return self.schema.by_target(self.labels)

    @property
    def positive_shares(self) -> dict[str, float]:
        """Share of positives of each target."""
        return {target: float(labels.mean()) for target, labels in self.labels_by_target.items()}

    @property
    def num_batches(self) -> int:
        """How many batches make an epoch; the last may be smaller."""
        return -(-self.num_rows // self.batch_size)

    def with_batch_size(self, batch_size: int) -> Split:
        """Return the same rows in batches of another size."""
        return replace(self, batch_size=batch_size)

    def take(self, num_rows: int, seed: int | None = None) -> Split:
        """Return the first rows, or a sample drawn with a seed (in table order); all of them where there are fewer.

        Raises:
            DataError: For fewer than one row.
        """
        if num_rows < 1:
            raise DataError(f"take({num_rows!r}) asks for no rows. Expected at least 1. Fix: take(1024).")
        if seed is None or num_rows >= self.num_rows:
            return self._rows(slice(0, num_rows))
        drawn = np.random.default_rng(seed).choice(self.num_rows, size=num_rows, replace=False)
        return self._rows(np.sort(drawn))

    def _rows(self, rows: slice | npt.NDArray[np.int64]) -> Split:
        inputs = {name: array[rows] for name, array in self.inputs.items()}
        groups = None if self.groups is None else self.groups[rows]
        release(*self.inputs.values(), self.labels)
        return replace(self, inputs=inputs, labels=self.labels[rows], groups=groups)

    def batches(
        self,
        *,
        shuffle: bool = False,
        seed: int = 0,
        inputs: Mapping[str, InputSpec] | None = None,
        outputs: Sequence[str] | None = None,
        repeat: bool = False,
        first_epoch: int = 0,
        skip: int = 0,
        unknown: npt.NDArray[np.float64] | None = None,
    ) -> tf.data.Dataset:
        """Return the rows as a `tf.data.Dataset` of (inputs by name, labels of shape (b, 1)).

        With several targets the labels are a dict of such arrays by the name of the network's output.

        Args:
            shuffle: Draw another order for every epoch, that is, every time the data set is iterated. The order depends
                on the seed and the number of the epoch, nothing else. Rows in large files are shuffled by blocks; see
                `tfshop.data.reading.Rows`.
            seed: The seed.
            inputs: The inputs of a network that wants them otherwise, e.g. one a feature; see `bind`. Default: packed.
            outputs: Names of a network's outputs in the order of the targets, for several targets. Default: those of
                our own networks, `schema.outputs`.
            repeat: Go on with the next epoch for ever.
            first_epoch: Number of the first epoch, from 0: its order is the one it would have had after those before.
            skip: Batches of the first epoch to leave out, without reading them.
            unknown: For each id column, the chance by which an id is read as unknown, drawn anew in each epoch; see
                `unknown_more_often`. None reads all as they are.

        Raises:
            ModelError: Where `inputs` asks for something the schema has not.
        """
        from tfshop._keras import tf  # noqa: PLC0415  (the room itself works without TensorFlow)

        specs = self.schema.input_specs() if inputs is None else inputs
        one_row = {name: array[:1] for name, array in self.inputs.items()}
        bind(one_row, self.schema, specs)  # refuse before the first epoch, not in it
        epochs = itertools.count(first_epoch)
        rows = Rows([*self.inputs.values(), self.labels], self.batch_size)
        names = tuple(outputs or self.schema.outputs.values())
        signature = (
            {name: tf.TensorSpec((None, *spec.shape), spec.dtype, name) for name, spec in specs.items()},
            tf.nest.map_structure(
                lambda column: tf.TensorSpec((None, column.shape[1]), tf.float32),
                self._labelled(self.labels[:1], names),
            ),
        )

        def generate() -> Iterator[tuple[dict[str, npt.NDArray[Any]], Any]]:
            for epoch in epochs:
                skipped = skip if epoch == first_epoch else 0
                batches = rows.shuffled(seed, epoch, skipped) if shuffle else rows.in_order(skipped)
                for number, (*arrays, labels) in enumerate(batches, start=skipped):
                    packed: Mapping[str, npt.NDArray[Any]] = dict(zip(self.inputs, arrays, strict=True))
                    if unknown is not None:
                        packed = as_unknown(packed, unknown, (seed, epoch, number))
                    yield bind(packed, self.schema, specs), self._labelled(labels, names)
                if not repeat:
                    return

        dataset = tf.data.Dataset.from_generator(generate, output_signature=signature)
        cardinality = tf.data.INFINITE_CARDINALITY if repeat else self.num_batches - skip
        return dataset.apply(tf.data.experimental.assert_cardinality(cardinality)).prefetch(2)

    def _labelled(self, labels: npt.NDArray[np.float32], outputs: Sequence[str]) -> Any:
        """Labels of one batch: (b, k) of one target, a dict of these by output of several."""
        columns = [column.reshape(len(labels), -1) for column in self.schema.by_target(labels).values()]
        return columns[0] if len(columns) == 1 else dict(zip(outputs, columns, strict=True))


@dataclass(frozen=True, eq=False, repr=False)
class Splits:
    """The three parts of a table, and the schema fitted on the first.

    Args:
        train: What the network is fitted on.
        validation: What stops the training and chooses between networks.
        test: What is only reported.
        schema: Fitted on `train` alone.
    """

    train: Split
    validation: Split
    test: Split
    schema: Schema

    def __repr__(self) -> str:
        """Show the three parts."""
        return "Splits(\n" + "".join(f"  {part},\n" for part in (self.train, self.validation, self.test)) + ")"

    @property
    def batch_size(self) -> int:
        """Rows of a training batch."""
        return self.train.batch_size

    def with_batch_size(self, batch_size: int) -> Splits:
        """Return the same rows in batches of another size."""
        train, validation, test = (
            part.with_batch_size(batch_size) for part in (self.train, self.validation, self.test)
        )
        return Splits(train, validation, test, self.schema)


def require_batch_size(batch_size: object) -> None:
    """Raise unless the batch size is an integer of at least one."""
    if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
        raise DataError(f"batch_size is {batch_size!r}. Expected an integer of at least 1. Fix: e.g. batch_size=4096.")
