"""Scoring of a `.tflite` by input name, any number of rows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import ArtifactError, ScoringError
from tfshop.runtime.graph import read_graph
from tfshop.runtime.inputs import FileInput, file_inputs, prepare_all
from tfshop.runtime.limits import id_limits
from tfshop.runtime.runner import Arrays, Runner
from tfshop.runtime.sources import Source, model_bytes, schema_of
from tfshop.runtime.waiting import progress_if_long

if TYPE_CHECKING:
    from tfshop.data.schema import Schema

ROWS_AT_ONCE = 1 << 20  # more of a split are scored in pieces: they may lie in files larger than the memory


class HasInputs(Protocol):
    """What a `Split` has that can be scored."""

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """Packed inputs by name."""


class Scorer:
    """Scores rows with a `.tflite`, bound by input name, never by position.

    Inputs of a file whose own inputs and outputs are int8 are given and returned as float; the scorer applies the
    file's scales. Ids are checked against the tables: LiteRT itself reads a neighbour's row where an id is too large
    for its feature.

    A scorer can be called from several threads; the calls take turns. For parallel work give it `num_threads`, or
    make one scorer a thread.

    Args:
        source: Bytes, path of a `.tflite`, path of an artifact's folder, or an object with `model_bytes`.
        schema: Schema that names the features and their tables; an artifact brings its own. Without one, limits of
            ids are read from the graph.
        batch_size: Rows scored by one call of the graph.
        num_threads: Batches scored at the same time, each by an interpreter of its own. It changes no score.

    Raises:
        ArtifactError: For a path without a model, and a damaged file. A file that LiteRT cannot run raises it at the
            first call.
        ScoringError: For a batch size or a number of threads under 1, and a schema of another file.

    Example:
        >>> scorer = Scorer("tflite/demo/int8")  # doctest: +SKIP
        >>> ids, history = np.zeros((3, 15), np.int32), np.zeros((3, 20), np.int32)
        >>> scorer({"ids": ids, "hist_product_type": history}).shape  # doctest: +SKIP
        (3,)
    """

    def __init__(
        self, source: Source, *, schema: Schema | None = None, batch_size: int = 1024, num_threads: int = 1
    ) -> None:
        if batch_size < 1 or num_threads < 1:
            raise ScoringError(
                f"Scorer, batch_size {batch_size} and num_threads {num_threads}. Expected both to be at least 1. "
                "Fix: Scorer(source, batch_size=1024, num_threads=1)."
            )
        self.model_bytes = model_bytes(source)
        self._graph = read_graph(self.model_bytes)
        self._schema = schema if schema is not None else schema_of(source)
        self._inputs = file_inputs(self._graph, id_limits(self._graph, self._schema))
        self._fixed_batch = next((i.fixed_batch for i in self._inputs.values() if i.fixed_batch is not None), None)
        self._batch_size = self._fixed_batch or batch_size
        # A partial, not a method of self: interpreters in a reference cycle would live until the collector runs.
        new_runner = partial(Runner, self.model_bytes, self._graph)
        is_fixed = self._fixed_batch is not None
        self._workers = [_Worker(new_runner, self._batch_size, is_fixed=is_fixed) for _ in range(num_threads)]
        self._lock = threading.Lock()

    @property
    def inputs(self) -> Mapping[str, FileInput]:
        """The file's inputs by name: shape without the batch, and dtype."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the file's outputs."""
        return tuple(self._graph.outputs)

    def new_runner(self, num_threads: int = 1) -> Runner:
        """An interpreter of this file, for whoever wants to run or time it directly."""
        return Runner(self.model_bytes, self._graph, num_threads=num_threads)

    @property
    def fixed_batch(self) -> int | None:
        """The only batch the file takes; None where it takes any."""
        return self._fixed_batch

    def __call__(self, inputs: Mapping[str, Any]) -> Any:
        """Score rows.

        Args:
            inputs: Arrays (rows, …) by name, as `self.inputs` describes them. Integers of any width are taken for
                ids if the values fit; NaN stands for a missing number.

        Returns:
            float32 (rows,) for one output of one number a row, (rows, width) for a wider one; a dict of these by name
            where the file has several outputs. No rows give empty arrays.

        Raises:
            ScoringError: For missing or unknown names; floats, booleans or strings as ids; a wrong rank or width;
                different numbers of rows; negative ids or ids past their table; infinite numbers.
        """
        arrays, num_rows = prepare_all(self._inputs, inputs)
        with self._lock:
            outputs = self._score(arrays, num_rows) if num_rows else self._no_rows()
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def score_split(self, split: HasInputs) -> Any:
        """Score all rows of a split, packed or, where the file's inputs are named so, one input a feature.

        Raises:
            ScoringError: As a call does, and for inputs named by feature without a schema to find them by.
            ModelError: For inputs that the schema has no feature for.
        """
        packed = split.inputs
        num_rows = len(next(iter(packed.values()), ()))
        if num_rows <= ROWS_AT_ONCE:
            return self(self._bound(packed, split))
        from tfshop.data.mapped import release  # noqa: PLC0415  (a few rows are scored without the data room)

        pieces = []
        for start in range(0, num_rows, ROWS_AT_ONCE):
            piece = {name: values[start : start + ROWS_AT_ONCE] for name, values in packed.items()}
            pieces.append(self(self._bound(piece, split)))
            release(*packed.values())
        if isinstance(pieces[0], dict):
            return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
        return np.concatenate(pieces)

    def _bound(self, packed: Mapping[str, NDArray[Any]], split: HasInputs) -> Mapping[str, NDArray[Any]]:
        """The file's own inputs of packed rows."""
        if set(self._inputs) <= set(packed):
            return {name: packed[name] for name in self._inputs}
        schema = self._schema or getattr(split, "schema", None)
        if schema is None:
            raise ScoringError(
                f"split, inputs {sorted(packed)}. Expected {sorted(self._inputs)}, and no schema is known to find "
                "them by. Fix: Scorer(source, schema=data.schema)."
            )
        from tfshop.data.binding import bind  # noqa: PLC0415  (packed files are scored without the data room)
        from tfshop.data.schema import InputSpec  # noqa: PLC0415

        specs = {name: InputSpec(spec.shape, spec.dtype) for name, spec in self._inputs.items()}
        return bind(packed, schema, specs)

    def _score(self, arrays: Arrays, num_rows: int) -> dict[str, NDArray[Any]]:
        """Scores of prepared rows: the first batch shows what the outputs look like, the workers share the rest."""
        starts = range(0, num_rows, self._batch_size)
        first = self._workers[0].score(arrays, 0)
        outputs = {name: np.empty((num_rows, *part.shape[1:]), part.dtype) for name, part in first.items()}
        _fill(outputs, first, 0)
        workers = self._workers[: len(starts) - 1]

        def work(position: int) -> None:
            for start in starts[1 + position :: len(workers)]:
                _fill(outputs, workers[position].score(arrays, start), start)
                advance()

        with progress_if_long("scoring", len(starts) - 1) as advance:
            if len(workers) == 1:
                work(0)
            elif workers:
                with ThreadPoolExecutor(len(workers)) as pool:
                    list(pool.map(work, range(len(workers))))
        return {name: _flat(output) for name, output in outputs.items()}

    def _no_rows(self) -> dict[str, NDArray[Any]]:
        tensors = {name: self._graph.tensors[index] for name, index in self._graph.outputs.items()}
        return {name: _flat(np.empty((0, *tensor.shape[1:]), np.float32)) for name, tensor in tensors.items()}


class _Worker:
    """Two interpreters: one stays laid out for whole batches, the other follows the remainders.

    Args:
        new_runner: Makes an interpreter.
        batch_size: Rows of a whole batch.
        is_fixed: Whether the file takes whole batches only, so that a remainder is filled up.
    """

    def __init__(self, new_runner: Callable[[], Runner], batch_size: int, *, is_fixed: bool) -> None:
        self._new_runner = new_runner
        self._batch_size = batch_size
        self._is_fixed = is_fixed
        self._runners: dict[bool, Runner] = {}

    def score(self, arrays: Arrays, start: int) -> dict[str, NDArray[Any]]:
        """Outputs of the batch that begins at `start`."""
        part = {name: array[start : start + self._batch_size] for name, array in arrays.items()}
        num_rows = len(next(iter(part.values())))
        if self._is_fixed and num_rows < self._batch_size:
            part = {name: _pad(array, self._batch_size) for name, array in part.items()}
        is_whole = self._is_fixed or num_rows == self._batch_size
        if is_whole not in self._runners:
            self._runners[is_whole] = self._new_runner()
        outputs = self._runners[is_whole].run(part)
        return {name: _rows(name, output, num_rows) for name, output in outputs.items()}


def _pad(array: NDArray[Any], num_rows: int) -> NDArray[Any]:
    """Repeat the last row until there are as many as the file wants."""
    return np.concatenate([array, np.repeat(array[-1:], num_rows - len(array), axis=0)])


def _rows(name: str, output: NDArray[Any], num_rows: int) -> NDArray[Any]:
    """The first rows of an output, if it has one a row of input."""
    if output.ndim == 0 or len(output) < num_rows:
        raise ArtifactError(
            f"output {name!r} of the file has shape {output.shape} for {num_rows} rows. Expected one score a row. "
            "Fix: convert a model whose output keeps the batch axis."
        )
    return output[:num_rows]


def _fill(outputs: Mapping[str, NDArray[Any]], part: Mapping[str, NDArray[Any]], start: int) -> None:
    for name, values in part.items():
        outputs[name][start : start + len(values)] = values


def _flat(output: NDArray[Any]) -> NDArray[Any]:
    """(rows, 1), and (rows, 1, 1), as (rows,)."""
    return output.reshape(len(output)) if set(output.shape[1:]) == {1} else output
