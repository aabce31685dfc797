"""Every network learns, and the same seed gives the same weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from helpers import same_weights

from models.conformance.shared import Step, build, each_network, richest
from tfshop.data import Splits


@each_network
def test_the_gradient_reaches_every_weight(name: str, step: Callable[[str], Step]) -> None:
    gradients = step(name).gradients
    assert gradients
    assert [weight for weight, gradient in gradients.items() if gradient is None or not np.any(gradient)] == []
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


@each_network
def test_one_training_step_lowers_the_loss(name: str, step: Callable[[str], Step]) -> None:
    assert step(name).after < step(name).before - 1e-3


@each_network
def test_the_same_seed_gives_the_same_weights(name: str, step: Callable[[str], Step], kinds: dict[str, Splits]) -> None:
    assert same_weights(step(name).initial, build(name, kinds[richest(name)], seed=0).get_weights())


@pytest.mark.parametrize("name", ["mlp", "din", "mmoe"])
def test_another_seed_gives_others(name: str, step: Callable[[str], Step], kinds: dict[str, Splits]) -> None:
    assert not same_weights(step(name).initial, build(name, kinds[richest(name)], seed=1).get_weights())
