"""What happened in a training, as a value."""

from __future__ import annotations

import json

from tfshop.training import Epoch, History


def make_history() -> History:
    epochs = tuple(Epoch(n, 0.5 / n, 0.7 + auc, 0.4, 1.25) for n, auc in ((1, 0.1), (2, 0.0)))
    return History(epochs, kept_epoch=1, stopped_early=True)


def test_a_history_survives_json_unchanged() -> None:
    assert History.from_dict(json.loads(json.dumps(make_history().to_dict()))) == make_history()


def test_the_best_epoch_is_the_kept_one() -> None:
    assert make_history().best == make_history().epochs[0]
