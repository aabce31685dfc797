"""The frontier of tables as a table and as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import tfshop as ts
from tfshop.compression.candidate import StepRecord
from tfshop.errors import TfshopError
from tfshop.report import TableFrontier
from tfshop.report.pictures import picture_bytes

AUC = 0.8


@dataclass
class Passed:
    """What has a history."""

    history: tuple[StepRecord, ...]


def frontier(worst: float = 0.03, chosen: int = 3) -> TableFrontier:
    rows = [
        {
            "bytes": 1_000 * 2**place,
            "expected_loss": worst / 4**place,
            "expected_auc": AUC - worst / 4**place if place < 7 else AUC,
            "measured_auc": AUC - 1.2 * worst / 4**place if place in {0, chosen} else None,
            "chosen": place == chosen,
        }
        for place in range(8)
    ]
    field = {"layer": "table", "features": ["item", "history"], "codec": "Int4()", "rows": 100, "bytes": 8_000}
    losses = {"estimated_loss": 1e-5, "tried_loss": None, "expected_loss": 1e-5}
    notes: dict[str, Any] = {"frontier": rows, "allocation": [field | losses], "validation_auc": {"float": AUC}}
    return ts.table_frontier(Passed((StepRecord("AllocateTables", {}, notes), StepRecord("TuneTables", {}))))


def test_the_table_has_a_row_an_allocation() -> None:
    table = frontier().table()
    assert list(table["bytes"]) == [1_000 * 2**place for place in range(8)] and table["chosen"].sum() == 1
    assert table["measured_auc"].notna().sum() == 2
    assert list(frontier().by_field()["features"]) == ["item, history"]


@pytest.mark.parametrize("worst", [0.03, 0.0002])
def test_the_picture_shows_what_was_expected_and_measured(worst: float, recwarn: pytest.WarningsRecorder) -> None:
    figure = frontier(worst).figure()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = [axes for axes in figure.axes if axes.axison]
    drawn = {line.get_label(): line.get_xydata() for line in axes.lines}
    assert len(drawn["expected, before tuning"]) == 8 and drawn["chosen"][0][0] == 8_000
    assert drawn["measured on validation"][0][1] == pytest.approx(-1.2 * worst)
    assert "8.00 kB of 128 kB (16x smaller)" in figure.get_suptitle()
    assert axes.get_tightbbox(canvas.get_renderer()).x1 <= figure.bbox.x1 + 1
    assert len({picture_bytes(frontier(worst).figure(), "svg") for _ in range(2)}) == 1
    assert not [str(warning.message) for warning in recwarn.list]


def test_a_plan_without_an_allocation_has_no_frontier() -> None:
    with pytest.raises(TfshopError, match=r"Passed without an allocation of tables.*Fix:"):
        ts.table_frontier(Passed((StepRecord("EncodeTables", {}),)))
