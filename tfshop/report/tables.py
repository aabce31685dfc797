"""The results as tables: the same columns for the terminal, Markdown and the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from tfshop.evaluation import Metrics
from tfshop.report.units import difference_text, size_text, time_text, times_text
from tfshop.report.variant import Variant
from tfshop.report.verdict import speedup

Cell = Callable[[Variant, Variant], str]
MISSING = "-"


@dataclass(frozen=True)
class Column:
    """One column: its heading, and the text of a file's cell given the baseline."""

    heading: str
    cell: Cell


@dataclass(frozen=True)
class ResultTable:
    """A table as text: the first column holds names, the others numbers.

    Args:
        title: What it holds.
        note: How to read it.
        headings: One a column.
        rows: One a file, the baseline first, each with one text a column.
    """

    title: str
    note: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _metric(name: str, pattern: str = ".4f", split: str = "test") -> Cell:
    """A metric of one split in a format; a dash where it was not measured."""

    def cell(variant: Variant, _: Variant) -> str:
        metrics: Metrics = getattr(variant.evaluation, split)
        value = getattr(metrics, name)
        return MISSING if value is None else format(value, pattern)

    return cell


def _tie_rate_cell(variant: Variant, _: Variant) -> str:
    rate = variant.evaluation.test.tie_rate
    return f"{rate:.2e}" if rate else "0"


def _speedup_cell(variant: Variant, baseline: Variant) -> str:
    found = speedup(variant, baseline)
    return MISSING if found is None else times_text(found[1])


SIZES = (
    Column("size", lambda variant, _: size_text(variant.evaluation.size_bytes)),
    Column("gzip", lambda variant, _: size_text(variant.evaluation.gzip_bytes)),
    Column(
        "smaller",
        lambda variant, baseline: times_text(baseline.evaluation.size_bytes / variant.evaluation.size_bytes),
    ),
)
COST = (*SIZES, Column("faster", _speedup_cell))
SCORES = (
    Column("AUC", _metric("auc")),
    Column("AUC difference, 95%", lambda variant, _: difference_text(variant.evaluation.auc_difference_test)),
    Column("log loss", _metric("log_loss")),
    Column("accuracy", _metric("accuracy")),
    Column("recall", _metric("recall")),
)
QUALITY = (
    Column("accuracy", _metric("accuracy")),
    Column("precision", _metric("precision")),
    Column("recall", _metric("recall")),
    Column("F1", _metric("f1")),
    Column("threshold", _metric("threshold")),
    Column("grouped AUC", _metric("grouped_auc")),
    Column("calibration", _metric("calibration", ".3f")),
    Column("tie rate", _tie_rate_cell),
)
VALIDATION = (
    Column("AUC", _metric("auc", split="validation")),
    Column("AUC difference, 95%", lambda variant, _: difference_text(variant.evaluation.auc_difference_validation)),
    Column("log loss", _metric("log_loss", split="validation")),
    Column("accuracy", _metric("accuracy", split="validation")),
    Column("precision", _metric("precision", split="validation")),
    Column("recall", _metric("recall", split="validation")),
    Column("F1", _metric("f1", split="validation")),
)


def summary_table(baseline: Variant, variants: Sequence[Variant]) -> ResultTable:
    """What most readers want: size, speed and quality on test, a row a file."""
    found = next((found for variant in variants if (found := speedup(variant, baseline))), None)
    speed = "" if found is None else f" 'faster' compares median calls at batch {found[0]}."
    note = (
        f"Test split, {baseline.evaluation.test.num_rows:,} rows; ratios and differences to '{baseline.name}'.{speed}"
    )
    columns = [*COST, *(column for target in baseline.evaluation.each for column in _seen_by(target, SCORES))]
    return _table("Summary", note, columns, baseline, variants)


def all_tables(baseline: Variant, variants: Sequence[Variant]) -> tuple[ResultTable, ...]:
    """Summary, quality on test and on validation of each target, and latency where it was timed."""
    tables = [summary_table(baseline, variants)]
    for target, seen in baseline.each.items():
        tables += _quality_tables(target, seen, [variant.each[target] for variant in variants])
    latency = latency_table(baseline, variants)
    return tuple(tables if latency is None else (*tables, latency))


def _seen_by(target: str, columns: Sequence[Column]) -> Iterator[Column]:
    """The columns with one target's numbers, headed so where there are several."""
    for column in columns:
        yield _of_target(target, column) if target else column


def _of_target(target: str, column: Column) -> Column:
    def cell(variant: Variant, baseline: Variant) -> str:
        return column.cell(variant.each[target], baseline.each[target])

    return replace(column, heading=f"{target}: {column.heading}", cell=cell)


def _quality_tables(target: str, baseline: Variant, variants: Sequence[Variant]) -> Iterator[ResultTable]:
    """Quality on test and on validation, of one target."""
    test, validation = baseline.evaluation.test, baseline.evaluation.validation
    of = f": {target}" if target else ""
    quality_note = (
        f"Test split: {test.num_rows:,} rows, {test.num_positives:,} positives. Threshold: chosen on validation for "
        "the best F1. Grouped AUC: within groups, weighted by rows. Calibration: predicted over observed, 1 is right. "
        "Tie rate: share of positive-negative pairs with equal scores."
    )
    validation_note = f"Limits are judged here: {validation.num_rows:,} rows, {validation.num_positives:,} positives."
    yield _table(f"Quality on test{of}", quality_note, QUALITY, baseline, variants)
    yield _table(f"Quality on validation{of}", validation_note, VALIDATION, baseline, variants)


def left_alone_tables(variants: Sequence[Variant]) -> tuple[ResultTable, ...]:
    """What passes did not treat, a table a file that has such layers."""
    headings = ("layer", "class", "pass", "reason")
    note = "Layers that a pass did not treat, and why. They are in the file all the same, as the exporter writes them."
    return tuple(
        ResultTable(f"Left alone: {v.name}", note, headings, tuple(tuple(r[h] for h in headings) for r in v.left_alone))
        for v in variants
        if v.left_alone
    )


def latency_table(baseline: Variant, variants: Sequence[Variant]) -> ResultTable | None:
    """Median and 99th percentile of a call by batch, None where nothing was timed."""
    timed = [variant.evaluation.latency for variant in (baseline, *variants) if variant.evaluation.latency]
    if not timed:
        return None
    batches = sorted({row.batch_size for latency in timed for row in latency.rows})
    columns = [
        column for batch in batches for column in (_latency_column(batch, "p50_us"), _latency_column(batch, "p99_us"))
    ]
    cpus = ", ".join(sorted({latency.cpu for latency in timed}))
    threads = "/".join(str(number) for number in sorted({latency.num_threads for latency in timed}))
    return _table("Latency of one call", f"On {cpus}; threads: {threads}; warm.", columns, baseline, variants)


def rich_table(table: ResultTable, width: int = 100) -> Group:
    """The table for a terminal: as many tables below each other as it takes to fit the width.

    Args:
        table: What to show.
        width: Of the terminal, in characters.
    """
    parts = [_rich_part(table, columns) for columns in _columns_that_fit(table, width)]
    return Group(Text(table.title, style="bold"), *parts, Text(table.note, style="dim"))


def _columns_that_fit(table: ResultTable, width: int) -> list[list[int]]:
    """Runs of columns (without the first, which each part repeats) that fit beside the first."""
    room = [max(len(cell) for cell in column) + 3 for column in zip(table.headings, *table.rows, strict=True)]
    runs: list[list[int]] = [[]]
    for column in range(1, len(table.headings)):
        taken = room[0] + 1 + sum(room[other] for other in runs[-1])
        if runs[-1] and taken + room[column] > width:
            runs.append([])
        runs[-1].append(column)
    return runs


def _rich_part(table: ResultTable, columns: list[int]) -> RichTable:
    shown = RichTable()
    for column in (0, *columns):
        shown.add_column(table.headings[column], justify="right" if column else "left", no_wrap=True)
    for row in table.rows:
        # Rich reads square brackets as markup; an interval is none.
        shown.add_row(*(row[column].replace("[", r"\[") for column in (0, *columns)))
    return shown


def markdown_table(table: ResultTable) -> str:
    """The table in Markdown, numbers to the right."""
    lines = [
        table.headings,
        ("---", *("---:" for _ in table.headings[1:])),
        *(tuple(cell.replace("|", r"\|") for cell in row) for row in table.rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _latency_column(batch: int, field: str) -> Column:
    def cell(variant: Variant, _: Variant) -> str:
        row = variant.evaluation.latency.at(batch) if variant.evaluation.latency else None
        return MISSING if row is None else time_text(getattr(row, field))

    return Column(f"{field.removesuffix('_us')} @ {batch}", cell)


def _table(
    title: str, note: str, columns: Sequence[Column], baseline: Variant, variants: Sequence[Variant]
) -> ResultTable:
    headings = ("file", *(column.heading for column in columns))
    rows = tuple(
        (variant.name, *(column.cell(variant, baseline) for column in columns)) for variant in (baseline, *variants)
    )
    return ResultTable(title, note, headings, rows)
