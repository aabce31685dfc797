"""Splits in time of which only one cut is given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tfshop.cli.app import app


@pytest.mark.parametrize(
    ("given", "told"),
    [(["--validation", "4"], "validation from 4, test from 8"), (["--test", "9"], "validation from 7, test from 9")],
)
def test_the_other_cut_is_made(tmp_path: Path, given: list[str], told: str) -> None:
    rng = np.random.default_rng(0)
    item = rng.integers(0, 5, 600)
    table = pd.DataFrame({"item": item.astype(str), "day": np.arange(600) // 60, "bought": (rng.random(600) < 0.5) * 1})
    table.to_csv(tmp_path / "rows.csv", index=False)
    small = ["--model", "mlp", "--hidden", "4", "--dimension", "4", "--epochs", "1", "--time", "day", *given]
    arguments = ["train", str(tmp_path / "rows.csv"), "--target", "bought", "--out", str(tmp_path / "m.keras"), *small]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert told in " ".join(result.output.split())
