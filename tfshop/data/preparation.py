"""From a table to encoded splits: refuse, count, encode, measure."""

# ruff: noqa: S608  (names and texts in the SQL are quoted, by `quote` and `text_literal`)
from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tfshop._console import progress, say
from tfshop._folders import cache_folder
from tfshop.data import encoding
from tfshop.data.checks import check_features, require_columns
from tfshop.data.columns import quote, text_literal
from tfshop.data.encoding import Packed, Placement, encode, encode_groups, encode_into
from tfshop.data.fitting import fit_statistics, fit_vocabularies
from tfshop.data.opening import read_table
from tfshop.data.parts import parts_and_labels, training_rows
from tfshop.data.schema import Schema
from tfshop.data.shards import ShardFolder, Survey
from tfshop.data.sources import request_of
from tfshop.data.split import Split, Splits, require_batch_size
from tfshop.data.splits import PARTS, SplitRule
from tfshop.data.table import Table
from tfshop.errors import DataError

MOST_BYTES_IN_MEMORY = 2 << 30
DUCKDB_MEMORY = "2GiB"  # half of what a small machine has; what does not fit is written to the scratch folder


def prepare(
    table: object,
    schema: Schema,
    *,
    split: SplitRule,
    batch_size: int = 4096,
    cache_dir: str | os.PathLike[str] | None = None,
    refit: bool = True,
) -> Splits:
    """Return the table's rows encoded in three parts, and the schema fitted on the first alone.

    Rows keep the table's order within a part. Ids are int32: 4 bytes a value. They lie in memory; with `cache_dir`, or
    where they would take over 2 GiB, in files of that folder, from which batches are read as they are wanted. There
    the next call for the same table, schema and split finds them again, and goes on where a killed one stopped. What
    makes a table the same, `tfshop.data.sources.source_of` says.

    Args:
        table: A `Table`, or anything `read_table` takes.
        schema: What the columns are.
        split: `TimeSplit`, `GroupSplit` or `RandomSplit`.
        batch_size: Rows of a batch.
        cache_dir: Where encoded rows are kept, a folder for each table, schema and split, until you remove them.
            Default: memory, or for large tables the folder `prepared` in the environment's TFSHOP_CACHE, else in
            ~/.cache/tfshop.
        refit: Whether vocabularies and statistics are taken from these rows. False keeps those of a fitted schema,
            which a network that was trained with them needs.

    Raises:
        SchemaError: For columns that are not in the table, not of their declared kind, or all missing; without `refit`,
            for a schema that is not fitted.
        DataError: For an empty part, a target that is not 0/1 or has one class only, and infinite numbers; for a full
            disk.

    Example:
        >>> import pyarrow as pa
        >>> from tfshop.data import IdFeature, TimeSplit
        >>> rows = pa.table({"item": ["a", "b"] * 6, "day": [1] * 4 + [2] * 4 + [3] * 4, "bought": [0, 1] * 6})
        >>> schema = Schema([IdFeature("item")], target="bought", time="day")
        >>> prepare(rows, schema, split=TimeSplit("day", validation=2, test=3)).test.inputs["ids"].ravel().tolist()
        [1, 2, 1, 2]
    """
    source = read_table(table)
    require_batch_size(batch_size)
    if not isinstance(split, SplitRule):
        raise DataError(
            f"split is {split!r}. Expected TimeSplit, GroupSplit or RandomSplit. "
            "Fix: split=TimeSplit('week', validation=43, test=45)."
        )
    _require_named(source, schema, split)
    if not refit:
        schema.require_fitted()
    if cache_dir is None and encoded_bytes(source, schema) > MOST_BYTES_IN_MEMORY:
        cache_dir = cache_folder() / "prepared"
        say(f"{source.name} is large: its encoded rows are kept in {cache_dir} (another folder: cache_dir=…)")
    if cache_dir is not None:
        return _on_disk(source, schema, split, batch_size, cache_dir, refit=refit)
    with _parsed_once(source, _needed(schema, split)) as rows:
        parts, labels = parts_and_labels(rows, schema, split)
        check_features(rows, schema, for_training=True)
        fitted = schema
        if refit:
            fitted = schema.replace(vocabularies=fit_vocabularies(*training_rows(rows, split, parts), schema))
        packed = encode(rows, fitted, Placement(parts, len(PARTS)))
        groups = encode_groups(rows, schema.group) if schema.group else None
    if refit:
        fitted = fitted.replace(statistics=fit_statistics(fitted, packed[0]))
    return _assemble(fitted, packed, (parts, labels, groups), batch_size)


def encoded_bytes(table: Table, schema: Schema) -> int:
    """Return about how many bytes the encoded rows take; of text, those it takes itself."""
    if table.is_text:
        return sum(Path(file).stat().st_size for file in table.files)
    widths = [np.dtype(spec.dtype).itemsize * int(np.prod(spec.shape)) for spec in schema.input_specs().values()]
    return table.num_rows * sum(widths)


def _on_disk(
    source: Table,
    schema: Schema,
    split: SplitRule,
    batch_size: int,
    cache_dir: str | os.PathLike[str],
    *,
    refit: bool,
) -> Splits:
    """As `prepare`, in a folder, going on from what is finished there."""
    request = request_of(source, schema, split.part_sql(source.columns), encoding.ROWS_PER_SHARD, refit=refit)
    folder = ShardFolder(cache_dir, request)
    with folder.open(), _streamed(source, _needed(schema, split), folder.scratch) as rows:
        survey = folder.read_survey() or _survey(folder, rows(), schema, split)
        vocabularies = folder.read_vocabularies() if refit else schema.vocabularies
        if vocabularies is None:
            vocabularies = fit_vocabularies(*training_rows(rows(), split, survey.parts), schema)
            folder.write_vocabularies(vocabularies)
        fitted = schema.replace(vocabularies=vocabularies)
        placement = Placement(survey.parts, len(PARTS), encoding.ROWS_PER_SHARD)
        packed = _encode_shards(folder, rows, fitted, placement)
        statistics = folder.read_statistics() if refit else schema.statistics
        if statistics is None:
            statistics = fit_statistics(fitted, packed[0])
            folder.write_statistics(statistics)
        folder.seal(packed)
        folder.remove_superseded()
    fitted = fitted.replace(statistics=statistics)
    return _in_splits(fitted, packed, survey.labels, survey.groups, batch_size)


def _survey(folder: ShardFolder, rows: Table, schema: Schema, split: SplitRule) -> Survey:
    """Check the table, and keep each row's part, labels and group; they are as long as it, and let go of here."""
    with progress("surveying rows", total=3) as advance:
        parts, labels = parts_and_labels(rows, schema, split)
        advance()
        check_features(rows, schema, for_training=True)
        advance()
        groups = encode_groups(rows, schema.group) if schema.group else None
        advance()
    return folder.write_survey(parts, labels, groups)


def _encode_shards(
    folder: ShardFolder, rows: Callable[[], Table], schema: Schema, placement: Placement
) -> list[Packed]:
    """Encode the shards that are not finished; a receipt is written for each as soon as it is."""
    inputs = folder.new_inputs(schema, placement.sizes)
    missing = folder.missing(placement, inputs)
    if len(missing) < placement.num_shards:
        say(f"{placement.num_shards - len(missing)} of {placement.num_shards} shards are encoded in {folder.path}")
    if not missing:
        return inputs
    with progress("encoding rows", total=sum(len(placement.rows_of(shard)) for shard in missing)) as advance:
        for run in _runs(missing):
            wanted = range(placement.rows_of(run[0]).start, placement.rows_of(run[-1]).stop)
            left = {shard: len(placement.rows_of(shard)) for shard in run}
            for written in encode_into(inputs, rows(), schema, placement, wanted):
                shards, counts = np.unique(written // placement.rows_per_shard, return_counts=True)
                for shard, count in zip(shards.tolist(), counts.tolist(), strict=True):
                    left[shard] -= count
                    if not left[shard]:
                        folder.finish(shard, placement, inputs)
                advance(len(written))
    return inputs


def _runs(shards: Sequence[int]) -> list[list[int]]:
    """Return the numbers in runs without gaps.

    Example:
        >>> _runs([0, 1, 5])
        [[0, 1], [5]]
    """
    runs: list[list[int]] = []
    for shard in shards:
        if runs and shard == runs[-1][-1] + 1:
            runs[-1].append(shard)
        else:
            runs.append([shard])
    return runs


@contextmanager
def _streamed(table: Table, columns: list[str], scratch: Path) -> Iterator[Callable[[], Table]]:
    """Yield what gives the table, read within bounds of memory and, where it is text, parsed when first wanted."""
    with ExitStack() as stack:

        @cache
        def rows() -> Table:
            scratch.mkdir(exist_ok=True)
            bounded = table.with_settings({"memory_limit": DUCKDB_MEMORY, "temp_directory": str(scratch / "spill")})
            return stack.enter_context(_parsed_once(bounded, columns, scratch))

        yield rows


def _require_named(table: Table, schema: Schema, split: SplitRule) -> None:
    named = [
        *((target, "the target") for target in schema.targets),
        (schema.group, "the group"),
        (schema.time, "the time"),
    ]
    named += [(split.column, f"the column of {type(split).__name__}")]
    named += [(feature.name, "feature") for feature in schema.features]
    require_columns(table, [(column, role) for column, role in named if column is not None])


def _needed(schema: Schema, split: SplitRule) -> list[str]:
    named = [feature.name for feature in schema.features]
    named += [column for column in (*schema.targets, schema.group, split.column) if column is not None]
    return list(dict.fromkeys(named))


@contextmanager
def _parsed_once(table: Table, columns: list[str], scratch: Path | None = None) -> Iterator[Table]:
    """Yield the table as it is, or, where it is text, as a temporary Parquet file: each scan would parse it again."""
    if not table.is_text:
        yield table
        return
    with tempfile.TemporaryDirectory(prefix="tfshop-", dir=scratch) as folder:
        path = Path(folder) / "rows.parquet"
        selected = ", ".join(quote(column) for column in columns)
        table.sql(f"COPY (SELECT {selected} FROM rows) TO {text_literal(str(path))} (FORMAT parquet)")
        yield read_table(path).renamed(table.name).with_settings(table.settings)


def _assemble(
    schema: Schema,
    packed: list[Packed],
    rows: tuple[npt.NDArray[np.int8], npt.NDArray[np.float32], npt.NDArray[np.int64] | None],
    batch_size: int,
) -> Splits:
    parts, labels, groups = rows
    chosen = [parts == part for part in range(len(PARTS))]
    own_groups = None if groups is None else [groups[own] for own in chosen]
    return _in_splits(schema, packed, [labels[own] for own in chosen], own_groups, batch_size)


def _in_splits(
    schema: Schema,
    packed: Sequence[Packed],
    labels: Sequence[npt.NDArray[np.float32]],
    groups: Sequence[npt.NDArray[np.int64]] | None,
    batch_size: int,
) -> Splits:
    train, validation, test = (
        Split(name, packed[part], labels[part], None if groups is None else groups[part], batch_size, schema)
        for part, name in enumerate(PARTS)
    )
    return Splits(train, validation, test, schema)
