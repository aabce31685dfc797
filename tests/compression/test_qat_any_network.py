"""Whatever network is drawn: training with rounding leaves what is frozen, and holds what is demanded of a kernel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from helpers import keras_scores
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate
from tfshop.compression._quantizers import on_int8_grid
from tfshop.compression.roles import unwrapped
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.models.rebuild import inlined
from tfshop.runtime import Scorer

from .random_networks import MASKED, THREE_AXES, Step, random_network, steps


@settings(
    phases=(Phase.explicit, Phase.generate),  # one network is as small as another
    max_examples=2,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@example(drawn=[(MASKED, 12, 1), ("frozen", 10, 2), ("positive", 12, 3), (THREE_AXES, 3, 0)], seed=0)
@example(drawn=[("positive", 9, 0), (MASKED, 9, 0), ("nested", 9, 2), ("frozen", 9, 4)], seed=1)
@given(drawn=steps(), seed=st.integers(0, 10_000))
def test_any_network_trains_as_far_as_it_may(drawn: list[Step], seed: int, dense_clicks: Splits) -> None:
    model = random_network(dense_clicks.schema, drawn, seed)
    brief = replace(dense_clicks, train=dense_clicks.train.take(256).with_batch_size(64))
    step = QAT(learning_rate=1e-2)
    step.check(model, brief.schema)
    after = step.apply(Candidate(model, brief.schema), brief, seed=0)
    treated = set(after.history[-1].notes["layers"])
    found = {layer.name: unwrapped(layer) for layer in after.model.layers}
    for layer in inlined(model).layers:
        if type(layer) is not keras.layers.Dense:
            continue
        before, kernel = layer.kernel.numpy(), found[layer.name].kernel.numpy()
        if not layer.trainable:
            wanted = on_int8_grid(before) if layer.name in treated else before
            np.testing.assert_allclose(kernel, wanted, atol=1e-6, err_msg=layer.name)
        else:
            assert not np.allclose(kernel, before, atol=2e-3), layer.name
        if layer.kernel_constraint is not None:
            assert (kernel >= 0).all() and not kernel[before == 0].any(), layer.name
    rows = {"ids": dense_clicks.test.inputs["ids"][:100].copy()}
    rows["ids"][::2, 1] = 0
    scores = Scorer(Export("int8", 256).to_bytes(after.model, brief))(rows)
    assert np.abs(scores - keras_scores(after.model, rows)).mean() < 2e-2
