"""Evaluations as people read them: tables, pictures, and one page that holds both."""

from __future__ import annotations

from tfshop.report.report import Report
from tfshop.report.table_frontier import TableFrontier, table_frontier
from tfshop.report.tables import ResultTable, markdown_table, rich_table
from tfshop.report.variant import TrainingCurve, Variant

__all__ = [
    "Report",
    "ResultTable",
    "TableFrontier",
    "TrainingCurve",
    "Variant",
    "markdown_table",
    "rich_table",
    "table_frontier",
]
