"""The same numbers in the terminal, in Markdown and on the page."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from tfshop.report import markdown_table, rich_table
from tfshop.report.tables import all_tables, summary_table


def test_summary_has_a_row_a_file_with_the_baseline_first(report):
    table = report.summary
    assert [row[0] for row in table.rows] == ["float32", *(variant.name for variant in report.variants)]
    assert {len(row) for row in table.rows} == {len(table.headings)}


def test_cells_are_the_measured_numbers(report):
    variant = report.variants[2]
    row = dict(zip(report.summary.headings, report.summary.rows[3], strict=True))
    assert row["AUC"] == f"{variant.evaluation.test.auc:.4f}"
    assert row["recall"] == f"{variant.evaluation.test.recall:.4f}"
    assert row["size"] == "1.05 MB"
    assert row["smaller"] == "4.0x"


def test_every_number_of_the_protocol_is_in_some_table(report):
    headings = {heading for table in all_tables(report.baseline, report.variants) for heading in table.headings}
    quality = {"AUC", "AUC difference, 95%", "log loss", "accuracy", "precision", "recall", "F1", "threshold"}
    rest = {"grouped AUC", "calibration", "tie rate", "size", "gzip", "smaller", "faster"}
    latency = {f"{percentile} @ {batch}" for percentile in ("p50", "p99") for batch in (1, 16, 128, 512)}
    assert quality | rest | latency <= headings


def test_what_was_not_measured_is_a_dash(make_report):
    report = make_report(2, 4_000, timed=False)
    test = replace(report.baseline.evaluation.test, grouped_auc=None)
    baseline = replace(report.baseline, evaluation=replace(report.baseline.evaluation, test=test))
    tables = {table.title: table for table in all_tables(baseline, report.variants)}
    assert "Latency of one call" not in tables
    quality = tables["Quality on test"]
    assert quality.rows[0][quality.headings.index("grouped AUC")] == "-"
    assert summary_table(baseline, report.variants).rows[0][4] == "-"


def test_terminal_shows_intervals_and_names_with_brackets(make_report):
    """Rich reads [x] as markup and would drop it."""
    stream = io.StringIO()
    report = make_report(12, 4_000)
    Console(file=stream, width=220).print(rich_table(report.summary))
    text = stream.getvalue()
    assert "$weird$ <name> & |co| [x]" in text
    assert report.summary.rows[1][6] in text


def test_markdown_has_one_cell_a_column_whatever_the_name(make_report):
    table = make_report(12, 4_000).summary
    lines = markdown_table(table).split("\n")
    assert len(lines) == 2 + 13
    assert {line.replace(r"\|", "").count("|") for line in lines} == {len(table.headings) + 1}
