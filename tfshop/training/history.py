"""What happened while a network was trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Epoch:
    """One epoch: `loss` is the mean training loss, `seconds` its wall time with validation.

    Of several targets, `loss` is their weighted sum, `validation_auc` and `validation_log_loss` are means over them,
    and `target_aucs` has the validation AUC of each; it is empty for one target.
    """

    epoch: int
    loss: float
    validation_auc: float
    validation_log_loss: float
    seconds: float
    target_aucs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """Epochs in order, and which of them gave the weights that were kept.

    Attributes:
        epochs: One row an epoch.
        kept_epoch: Number of the epoch whose weights the model holds now, from 1.
        stopped_early: Whether validation AUC had stopped rising before the last planned epoch.
    """

    epochs: tuple[Epoch, ...]
    kept_epoch: int
    stopped_early: bool = False

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept."""
        return self.epochs[self.kept_epoch - 1]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> History:
        """Inverse of `to_dict`."""
        return cls(
            epochs=tuple(Epoch(**row) for row in data["epochs"]),
            kept_epoch=data["kept_epoch"],
            stopped_early=data["stopped_early"],
        )
