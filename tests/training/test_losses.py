"""Distillation: cross-entropy to the teacher, cross-entropy to the label, and their mixture."""

from __future__ import annotations

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.training import DistillationLoss

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 40).astype(np.float32)
TEACHER = RNG.normal(0, 3, 40).astype(np.float32)
STUDENT = RNG.normal(0, 3, (40, 1)).astype(np.float32)
TARGETS = np.stack([LABELS, TEACHER], axis=1)


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values.astype(np.float64)))


def cross_entropy(truth: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return -truth * np.log(sigmoid(logits)) - (1 - truth) * np.log(1 - sigmoid(logits))


@pytest.mark.parametrize(("weight", "temperature"), [(0.9, 1.0), (0.5, 4.0), (0.3, 0.5)])
def test_the_loss_is_the_formula_of_its_docstring(weight: float, temperature: float) -> None:
    student = STUDENT[:, 0]
    soft = cross_entropy(sigmoid(TEACHER / temperature), student / temperature)
    expected = weight * temperature**2 * soft + (1 - weight) * cross_entropy(LABELS, student)
    loss = DistillationLoss(weight, temperature)
    np.testing.assert_allclose(loss.call(TARGETS, STUDENT).numpy(), expected, rtol=1e-5)
    assert float(loss(TARGETS, STUDENT)) == pytest.approx(expected.mean(), rel=1e-5)


def test_weight_0_is_binary_cross_entropy_on_the_labels() -> None:
    plain = keras.losses.BinaryCrossentropy(from_logits=True)(LABELS[:, None], STUDENT)
    assert float(DistillationLoss(0.0, 7.0)(TARGETS, STUDENT)) == pytest.approx(float(plain), rel=1e-6)


def test_weight_1_at_temperature_1_hears_the_teacher_alone() -> None:
    loss = DistillationLoss(1.0, 1.0)
    plain = keras.losses.BinaryCrossentropy(from_logits=True)(sigmoid(TEACHER)[:, None], STUDENT)
    assert float(loss(TARGETS, STUDENT)) == pytest.approx(float(plain), rel=1e-6)
    turned = np.stack([1 - LABELS, TEACHER], axis=1)
    assert float(loss(turned, STUDENT)) == float(loss(TARGETS, STUDENT))


@pytest.mark.parametrize("shape", [(40,), (40, 1, 1)])
def test_a_student_gives_one_number_a_row_in_whatever_shape(shape: tuple[int, ...]) -> None:
    loss = DistillationLoss(0.5, 2.0)
    np.testing.assert_array_equal(loss.call(TARGETS, STUDENT.reshape(shape)), loss.call(TARGETS, STUDENT))


def test_very_certain_logits_give_a_finite_loss() -> None:
    targets, student = np.float32([[1.0, 500.0], [0.0, -500.0]]), np.float32([[-500.0], [500.0]])
    assert np.isfinite(DistillationLoss(0.5, 1.0).call(targets, student).numpy()).all()


def test_the_loss_is_made_again_from_its_configuration() -> None:
    again = keras.losses.deserialize(keras.losses.serialize(DistillationLoss(0.3, 2.0)))
    assert type(again) is DistillationLoss
    assert float(again(TARGETS, STUDENT)) == float(DistillationLoss(0.3, 2.0)(TARGETS, STUDENT))
