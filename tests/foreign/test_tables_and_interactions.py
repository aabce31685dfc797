"""Networks of Embeddings, interactions and Dense layers, as tutorials write them."""

from __future__ import annotations

import pytest

from .checks import AT_ONCE, check_exports, check_passes

TREATED = {
    "plain": ("first", "second"),
    "scalar_inputs": ("first",),
    "interactions": ("first",),
    "factorization": ("users", "items"),
    "sequential": ("first",),
    "wide_and_deep": ("first", "second"),
}
each_style = pytest.mark.parametrize("style", TREATED)


@each_style
def test_passes_reach_its_dense_layers_and_leave_the_rest(style, network, log):
    # How zeros grow in training, layers wrapped, is seen in networks of more layers than these.
    candidate = check_passes(network(style), log, TREATED[style], prune=AT_ONCE)
    heads = [row["layer"] for row in candidate.history[-1].notes["left_alone"] if row["class"] == "Dense"]
    if style == "wide_and_deep":  # the wide half has no Dense layer, the deep half ends in one, a plain `+` joins them
        assert heads == ["deep"]
    assert len(heads) == (style != "factorization")


@each_style
def test_every_mode_gives_a_file_that_agrees(style, network, log):
    check_exports(network(style), log)
