"""Encoded rows in a folder: what is finished is known to be, found again, checked and gone on from.

A folder holds one `.npy` file for each input of each part, its labels and groups. A shard is a range of the table's
rows, and so a range of rows of each of those files. Once all rows of a shard are written, a receipt with their
checksums is put beside; what has no receipt, or one that does not fit, is encoded again. So a kill costs the shards
that were being written, and a network reads any row of any shard from one array.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tfshop._console import progress
from tfshop._folders import locked
from tfshop.data.encoding import Packed, Placement
from tfshop.data.mapped import checksum, new_array, open_array, release
from tfshop.data.schema import Schema
from tfshop.data.splits import PARTS
from tfshop.data.vocabulary import NumericStatistics, Vocabulary
from tfshop.errors import TfshopError

_ROWS_PER_COPY = 1 << 20
_PARTS, _LABELS, _GROUPS = "parts", "labels", "groups"
_LONGEST_NAME = 60


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known of every row before any is encoded.

    Args:
        parts: int8, shape (n,): the part of each row of the table.
        labels: Of each part, first dimension its rows.
        groups: Of each part; None without a group column.
    """

    parts: npt.NDArray[np.int8]
    labels: Sequence[npt.NDArray[np.float32]]
    groups: Sequence[npt.NDArray[np.int64]] | None


class ShardFolder:
    """The encoded rows of one request, finished or not.

    Args:
        cache_dir: Where folders of encoded rows are kept, one a request.
        request: Plain data that says all the encoded rows depend on; another request, another folder.
    """

    def __init__(self, cache_dir: str | os.PathLike[str], request: Mapping[str, Any]) -> None:
        self.request = json.loads(json.dumps(request))
        key = hashlib.sha256(json.dumps(self.request, sort_keys=True).encode()).hexdigest()[:16]
        self.path = Path(cache_dir).absolute() / f"prepared-{key}"

    @contextmanager
    def open(self) -> Iterator[None]:
        """Hold the folder for this process; data that is refused leaves nothing behind, a kill what was finished."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(_lock_of(self.path), f"waiting for another process that prepares the same rows in {self.path}"):
            self.path.mkdir(exist_ok=True)
            _write_json(self.path / "request.json", self.request)
            try:
                yield
            except TfshopError:
                shutil.rmtree(self.path, ignore_errors=True)
                raise
            finally:
                shutil.rmtree(self.scratch, ignore_errors=True)

    @property
    def scratch(self) -> Path:
        """A folder for what is wanted during the work only."""
        return self.path / "scratch"

    def write_survey(
        self, parts: npt.NDArray[np.int8], labels: npt.NDArray[np.float32], groups: npt.NDArray[np.int64] | None
    ) -> Survey:
        """Keep what is known of the rows, given in the table's order, and return it as it is kept."""
        sizes = np.bincount(parts, minlength=len(PARTS)).tolist()
        columns: Packed = {_LABELS: labels} if groups is None else {_LABELS: labels, _GROUPS: groups}
        shapes: dict[str, tuple[list[int], str]] = {_PARTS: ([len(parts)], "int8")}
        for part, size in zip(PARTS, sizes, strict=True):
            for key, values in columns.items():
                shapes[_name(part, key)] = ([size, *values.shape[1:]], str(values.dtype))
        arrays = {name: new_array(self._file(name), tuple(shape), dtype) for name, (shape, dtype) in shapes.items()}
        _deal(parts, columns, arrays)
        arrays[_PARTS][:] = parts
        checksums = {name: checksum(array) for name, array in arrays.items()}
        release(*arrays.values())
        _write_json(self.path / "survey.json", {"arrays": shapes, "checksums": checksums})
        return _as_survey(arrays)

    def read_survey(self) -> Survey | None:
        """Return what is known of the rows; None where it is not, or damaged."""
        receipt = _read_json(self.path / "survey.json")
        if receipt is None:
            return None
        arrays: Packed = {}
        for name, (shape, dtype) in receipt["arrays"].items():
            array = open_array(self._file(name), tuple(shape), dtype)
            if array is None or checksum(array) != receipt["checksums"][name]:
                return None
            release(array)
            arrays[name] = array
        return _as_survey(arrays)

    def write_vocabularies(self, vocabularies: Mapping[str, Vocabulary]) -> None:
        """Keep the vocabularies, an Arrow file each."""
        checksums = {}
        for i, (name, vocabulary) in enumerate(vocabularies.items()):
            content = pa.table({"value": vocabulary.values, "count": vocabulary.counts})
            path = self.path / f"vocabulary_{i}.arrow"
            with pa.ipc.new_file(str(path), content.schema) as writer:
                writer.write_table(content)
            checksums[name] = checksum(np.memmap(path, np.uint8, "r"))
        _write_json(self.path / "vocabularies.json", {"checksums": checksums})

    def read_vocabularies(self) -> dict[str, Vocabulary] | None:
        """Return the vocabulary of each table; None where they are not there, or damaged."""
        receipt = _read_json(self.path / "vocabularies.json")
        if receipt is None:
            return None
        found = {}
        for i, (name, expected) in enumerate(receipt["checksums"].items()):
            path = self.path / f"vocabulary_{i}.arrow"
            if not path.is_file() or not path.stat().st_size or checksum(np.memmap(path, np.uint8, "r")) != expected:
                return None
            with pa.OSFile(str(path)) as file:
                content = pa.ipc.open_file(file).read_all()
            found[name] = Vocabulary(_one_array(content["value"]), content["count"].to_numpy())
        return found

    def write_statistics(self, statistics: Mapping[str, NumericStatistics]) -> None:
        """Keep the statistics: the last thing that is written."""
        _write_json(self.path / "statistics.json", {name: one.to_dict() for name, one in statistics.items()})

    def read_statistics(self) -> dict[str, NumericStatistics] | None:
        """Return the statistics, None where they are not there."""
        found = _read_json(self.path / "statistics.json")
        return None if found is None else {name: NumericStatistics(**one) for name, one in found.items()}

    def new_inputs(self, schema: Schema, sizes: Sequence[int]) -> list[Packed]:
        """Return the arrays of each part, to be written to; what they hold is kept."""
        inputs: list[Packed] = [{} for _ in PARTS]
        for packed, part, size in zip(inputs, PARTS, sizes, strict=True):
            for key, spec in schema.input_specs().items():
                packed[key] = new_array(self._file(_name(part, key)), (size, *spec.shape), spec.dtype)
        return inputs

    def finish(self, shard: int, placement: Placement, inputs: Sequence[Packed]) -> None:
        """Say that all rows of a shard are written."""
        _write_json(self._receipt(shard), {"checksums": _checksums(shard, placement, inputs)})
        release(*(array for packed in inputs for array in packed.values()))

    def missing(self, placement: Placement, inputs: Sequence[Packed]) -> list[int]:
        """Return the shards that have no receipt, or not the rows their receipt was written for."""
        shards = range(placement.num_shards)
        kept = [shard for shard in shards if self._receipt(shard).is_file()]
        if not kept:
            return list(shards)
        sound = set()
        with progress("checking encoded shards", total=len(kept)) as advance:
            for shard in kept:
                receipt = _read_json(self._receipt(shard)) or {}
                if receipt.get("checksums") == _checksums(shard, placement, inputs):
                    sound.add(shard)
                else:
                    self._receipt(shard).unlink()
                release(*(array for packed in inputs for array in packed.values()))
                advance()
        return [shard for shard in shards if shard not in sound]

    def seal(self, inputs: Sequence[Packed]) -> None:
        """Make the arrays unwritable in this process: what is changed now would be found as damage."""
        for packed in inputs:
            for array in packed.values():
                array.flags.writeable = False

    def remove_superseded(self) -> None:
        """Remove folders of the same request on files that have changed since; one in use by a process stays."""
        for other in self.path.parent.glob("prepared-*"):
            found = _read_json(other / "request.json")
            if other == self.path or found is None or not _same_but_for_content(found, self.request):
                continue
            with locked(_lock_of(other), None) as is_ours:
                if is_ours:
                    shutil.rmtree(other, ignore_errors=True)

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.npy"

    def _receipt(self, shard: int) -> Path:
        return self.path / f"shard-{shard:05d}.json"


def _name(part: str, key: str) -> str:
    """Return a file's name; features may be called anything."""
    is_plain = key.isascii() and key.replace("_", "").isalnum() and len(key) < _LONGEST_NAME
    return f"{part}_{key if is_plain else hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _as_survey(arrays: Packed) -> Survey:
    for array in arrays.values():
        array.flags.writeable = False
    labels = [arrays[_name(part, _LABELS)] for part in PARTS]
    groups = [arrays[_name(part, _GROUPS)] for part in PARTS if _name(part, _GROUPS) in arrays]
    return Survey(arrays[_PARTS], labels, groups or None)


def _deal(parts: npt.NDArray[np.int8], columns: Packed, outputs: Packed) -> None:
    """Copy the columns of a table to those of its parts, a piece at a time."""
    filled = [0] * len(PARTS)
    for start in range(0, len(parts), _ROWS_PER_COPY):
        piece = slice(start, start + _ROWS_PER_COPY)
        for part, name in enumerate(PARTS):
            chosen = parts[piece] == part
            stop = filled[part] + int(np.count_nonzero(chosen))
            for key, values in columns.items():
                outputs[_name(name, key)][filled[part] : stop] = values[piece][chosen]
            filled[part] = stop


def _checksums(shard: int, placement: Placement, inputs: Sequence[Packed]) -> dict[str, int]:
    return {
        _name(part, key): checksum(array[rows])
        for part, packed, rows in zip(PARTS, inputs, placement.slices_of(shard), strict=True)
        for key, array in packed.items()
    }


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], pa.string())])


def _same_but_for_content(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two requests are for the same files, schema and split, of which the files differ in what they hold."""

    def without_content(request: Mapping[str, Any]) -> Any:
        source = request.get("source", {})
        paths = [file["path"] for file in source.get("files", [])]
        return paths, {key: value for key, value in request.items() if key != "source"}

    paths, rest = without_content(one)
    return bool(paths) and (paths, rest) == without_content(other)


def _lock_of(folder: Path) -> Path:
    """Return the file whose lock says who works in a folder: beside it, so that it outlives it."""
    return folder.with_name(f"{folder.name}.lock")


def _read_json(path: Path) -> Any:
    """Return what `_write_json` wrote; None where the file is not there, or damaged."""
    try:
        receipt = json.loads(path.read_text(encoding="utf-8"))
        return receipt["content"] if receipt["crc32"] == _crc32(receipt["content"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_json(path: Path, content: Any) -> None:
    """Write beside and rename, so that a file is there as a whole or not at all."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(json.dumps({"crc32": _crc32(content), "content": content}), encoding="utf-8")
    beside.replace(path)


def _crc32(content: Any) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
