"""Kernels of networks that others wrote, as products of two."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import keras_scores, same_weights

from tfshop.compression import Candidate, LowRank
from tfshop.compression.factoring import spectrum
from tfshop.compression.rebuild import with_factors
from tfshop.compression.roles import layers_with
from tfshop.data.binding import bind
from tfshop.models.rebuild import inlined
from tfshop.training.inputs import model_specs

from .checks import check_exports
from .styles import STYLES


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_factored_and_told_of(style, network, log):
    model = network(style)
    before, start = model.get_weights(), inlined(model)
    step = LowRank(rank=1, epochs=0)
    step.check(model, log.schema)
    after = step.apply(Candidate(model, log.schema), log, seed=0)
    assert same_weights(model, before)
    factored = {row["layer"] for row in after.history[-1].notes["factored"]}
    alone = {row["layer"] for row in after.history[-1].notes["left_alone"]}
    assert factored and factored | alone == {layer.name for layer in start.layers if layer.weights}
    assert after.model.count_params() < model.count_params() and after.model.output_names == start.output_names
    rows = bind(log.test.inputs, log.schema, model_specs(model))
    assert np.isfinite(keras_scores(after.model, rows)).all()


@pytest.mark.parametrize("style", STYLES)
def test_full_rank_leaves_the_scores_of_every_style(style, network, log):
    model = inlined(network(style))
    kernels = {name: model.get_layer(name).kernel.numpy() for name in layers_with(model, ("dense",))}
    whole = with_factors(model, {name: spectrum(kernel).factors(min(kernel.shape)) for name, kernel in kernels.items()})
    rows = bind(log.test.inputs, log.schema, model_specs(model))
    np.testing.assert_allclose(keras_scores(whole, rows), keras_scores(model, rows), atol=1e-5)


@pytest.mark.parametrize("style", ["shared_tower", "normalized"])
def test_files_of_factored_networks_agree(style, network, log):
    after = LowRank(rank=4).apply(Candidate(network(style), log.schema), log, seed=0)
    check_exports(after.model, log, ("float32", "int8"))
