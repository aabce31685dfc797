"""Fine-tuning on the scores of the network that came in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tfshop.compression import QAT, Candidate, Cluster, DropFeatures, LowRank, Pass, Prune, PruneUnits
from tfshop.data import Splits
from tfshop.training import predict

STEPS: dict[str, Pass] = {
    "Prune": Prune(0.5),
    "Prune with masks": Prune(0.5, scope="global"),
    "Cluster": Cluster(16),
    "LowRank": LowRank(rank=4),
    "PruneUnits": PruneUnits(0.5),
    "DropFeatures": DropFeatures(("id_2",)),
    "QAT": QAT(),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_pass_stays_nearer_to_the_network_that_came_in_than_labels_alone_would_lead_it(
    name: str, candidate: Callable[[str], Candidate], clicks: Splits
) -> None:
    """Labels turned over, and steps long enough to follow them, show which of the two is followed."""
    start = candidate("mlp")
    turned = replace(clicks, train=replace(clicks.train, labels=1 - clicks.train.labels))
    before = predict(start.model, clicks.validation)
    taught, alone = (
        np.abs(predict(step.apply(start, turned, 0).model, clicks.validation) - before)
        for step in (replace(STEPS[name], distill=distill, learning_rate=2e-2) for distill in (True, False))
    )
    assert taught.mean() < 0.25 * alone.mean()
