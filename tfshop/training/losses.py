"""Losses that a plain `model.fit` can use."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf

SMALLEST = 1e-7  # nearest to 0 and 1 that a float32 probability is taken for


@keras.utils.register_keras_serializable(package="tfshop")
class DistillationLoss(keras.losses.Loss):
    r"""Cross-entropy to the teacher's softened scores, mixed with that to the labels, on logits.

    .. math:: w\,T^2\,H(\sigma(z_t / T), \sigma(z_s / T)) + (1 - w)\,H(y, \sigma(z_s))

    Args:
        weight: Share `w` of the teacher, in [0, 1]; 1 is soft targets alone, 0 labels alone.
        temperature: `T` > 0; above 1 the teacher's certainty is softened.
        from_logits: Whether the student gives logits; else probabilities.
        **kwargs: As any Keras loss.

    Call:
        y_true: float32 (batch, 2): label, teacher's logit. y_pred: float32 (batch, 1), (batch,) or (batch, 1, 1), the
            student's.

    References:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015.
    """

    def __init__(
        self, weight: float = 0.9, temperature: float = 1.0, *, from_logits: bool = True, **kwargs: Any
    ) -> None:
        kwargs.setdefault("name", "distillation")
        super().__init__(**kwargs)
        self.weight = weight
        self.temperature = temperature
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each example, float32 (batch,)."""
        label, teacher = y_true[:, :1], y_true[:, 1:]
        y_pred = tf.reshape(y_pred, (-1, 1))
        if not self.from_logits:
            inside = tf.clip_by_value(y_pred, SMALLEST, 1.0 - SMALLEST)
            y_pred = tf.math.log(inside) - tf.math.log1p(-inside)
        soft = tf.nn.sigmoid_cross_entropy_with_logits(
            labels=tf.sigmoid(teacher / self.temperature), logits=y_pred / self.temperature
        )
        hard = tf.nn.sigmoid_cross_entropy_with_logits(labels=label, logits=y_pred)
        return tf.squeeze(self.weight * self.temperature**2 * soft + (1.0 - self.weight) * hard, axis=1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        settings = {"weight": self.weight, "temperature": self.temperature, "from_logits": self.from_logits}
        return {**super().get_config(), **settings}
