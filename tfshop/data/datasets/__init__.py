"""Ready-made data sets: one real task, and planted ones of any size."""

from __future__ import annotations

from tfshop.data.datasets.complete_journey import complete_journey, complete_journey_schema, complete_journey_table
from tfshop.data.datasets.synthetic import synthetic, synthetic_schema, synthetic_table

__all__ = [
    "complete_journey",
    "complete_journey_schema",
    "complete_journey_table",
    "synthetic",
    "synthetic_schema",
    "synthetic_table",
]
