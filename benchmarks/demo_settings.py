"""Which settings the demonstration trains with, chosen on the training weeks alone.

Run: `python benchmarks/demo_settings.py` (about half an hour on two cores; `--quick` takes one minute).

The demonstration trains to week 42 and is judged on the nine weeks 45 to 53, but its own validation has two weeks only.
Settings chosen there suit the near future and overfit the far one. So the choice is made one step back in time, with
the distance kept (rolling origin, Tashman 2000): train to week 31, skip two weeks, judge on weeks 34 to 42. Rows of
weeks after 42 are dropped before anything else happens; the demonstration's validation and test are not read here.

References:
    Tashman, Out-of-sample tests of forecasting accuracy: an analysis and review, International Journal of
    Forecasting, 2000.
"""

# ruff: noqa: S608  (the only thing in the SQL is a number of this file)
from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import results
from sklearn.metrics import log_loss, roc_auc_score

import tfshop as ts
from tfshop._console import say
from tfshop._keras import keras
from tfshop.data.datasets.complete_journey import complete_journey_schema, complete_journey_table
from tfshop.data.split import Splits
from tfshop.training import FitSettings, fit, predict

NETWORK = {"dimension": 16, "hidden": (400, 400, 400)}
GAP, FIRST, LAST = 32, 34, 42  # weeks: the gap begins, the judged weeks begin and end
LEARNING_RATES = (1e-3, 2e-3, 3e-3)
DROPOUTS = (0.0, 0.2)


def main() -> None:
    """Train every setting, score it after each epoch on the judged weeks, print the table, write the JSON."""
    options = _options()
    data = earlier_weeks(options.fraction)
    rows = [
        row
        for learning_rate in LEARNING_RATES
        for dropout in DROPOUTS
        for row in _trained(data, learning_rate, dropout, options)
    ]
    rows.sort(key=lambda row: -float(np.mean(row["auc"])))
    _show(rows)
    name = "demo_settings_quick" if options.quick else "demo_settings"
    say(f"written: {results.save(name, {'settings': vars(options), 'rows': rows})}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the households, in (0, 1]")
    parser.add_argument("--epochs", type=int, default=3, help="epochs of each setting; each is scored")
    parser.add_argument("--seeds", type=int, default=2, help="runs of each setting")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the households: to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.fraction, options.seeds = min(options.fraction, 0.05), 1
    return options


def earlier_weeks(fraction: float = 1.0) -> Splits:
    """Promotion response to week 42 alone: train to 31, the gap as validation, the judged weeks as test."""
    table = complete_journey_table(fraction=fraction)
    kept = pa.Table.from_batches(table.batches(f"SELECT * FROM rows WHERE week <= {LAST}", 1 << 17))
    return ts.prepare(kept, complete_journey_schema(), split=ts.TimeSplit("week", validation=GAP, test=FIRST))


class _Judge(keras.callbacks.Callback):
    """Score the judged weeks after every epoch."""

    def __init__(self, data: Splits) -> None:
        super().__init__()
        self._data = data
        self.aucs: list[float] = []
        self.log_losses: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep AUC and log loss of this epoch's weights."""
        scores = predict(self.model, self._data.test)
        self.aucs.append(float(roc_auc_score(self._data.test.labels, scores)))
        self.log_losses.append(float(log_loss(self._data.test.labels, np.clip(scores, 1e-7, 1 - 1e-7))))


def _trained(data: Splits, learning_rate: float, dropout: float, options: argparse.Namespace) -> list[dict[str, Any]]:
    judges = []
    for seed in range(options.seeds):
        model = ts.build_model("mlp", data.schema, seed=seed, dropout=dropout, **NETWORK)
        judges.append(_Judge(data))
        text = f"step size {learning_rate:g}, dropout {dropout:g}, seed {seed}"
        fit(
            model,
            data,
            FitSettings(
                epochs=options.epochs,
                learning_rate=learning_rate,
                seed=seed,
                patience=None,
                keep_best=False,
                callbacks=(judges[-1],),
                description=text,
            ),
        )
        say(f"{text}: " + ", ".join(f"{auc:.4f}" for auc in judges[-1].aucs))
    return [
        {
            "learning_rate": learning_rate,
            "dropout": dropout,
            "epochs": epoch + 1,
            "auc": [judge.aucs[epoch] for judge in judges],
            "log_loss": [judge.log_losses[epoch] for judge in judges],
        }
        for epoch in range(options.epochs)
    ]


def _show(rows: Sequence[dict[str, Any]]) -> None:
    cells = [
        (
            f"{row['learning_rate']:g}",
            f"{row['dropout']:g}",
            str(row["epochs"]),
            f"{np.mean(row['auc']):.4f}",
            " ".join(f"{auc:.4f}" for auc in row["auc"]),
            f"{np.mean(row['log_loss']):.4f}",
        )
        for row in rows
    ]
    headings = ("step size", "dropout", "epochs", "AUC", "of each seed", "log loss")
    results.show(f"mlp 400-400-400, trained to week {GAP - 1}, judged on weeks {FIRST} to {LAST}", headings, cells)


if __name__ == "__main__":
    main()
