"""Weights are shared in networks of others: shared layers, submodels, attention; after their zeros were made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfshop.compression import Candidate, Cluster, Prune
from tfshop.data import Splits
from tfshop.evaluation.audit import audit_file
from tfshop.export import Export
from tfshop.runtime import count_zeros

from .checks import check_the_rest_is_as_it_was


@pytest.mark.parametrize("style", ["shared_layers", "nested", "attention"])
def test_zeros_and_shared_numbers_are_in_the_file(style: str, network: Callable[[str], Any], log: Splits) -> None:
    pruned = Prune(0.5, "one_shot", epochs=0, scope="global").apply(Candidate(network(style), log.schema), log, seed=0)
    Cluster(8).check(pruned.model, log.schema)
    result = Cluster(8).apply(pruned, log, seed=0)
    treated = result.history[-1].notes["layers"]
    assert treated
    for name in treated:
        kernel, before = (one.model.get_layer(name).get_weights()[0] for one in (result, pruned))
        assert len(np.unique(kernel)) <= 8 < len(np.unique(before)) and not kernel[before == 0].any()
    check_the_rest_is_as_it_was(pruned.model, result, tuple(treated))
    content = Export("float32").to_bytes(result.model, log)
    audit_file(content, result.model, log, mode="float32")
    assert count_zeros(content)[0] >= count_zeros(Export("float32").to_bytes(pruned.model, log))[0]
