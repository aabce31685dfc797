"""What one layer loses by one technique at one strength, and what that saves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from tfshop.errors import TfshopError


@dataclass(frozen=True)
class Trial:
    """One layer changed by one technique at one strength, without training, everything else as it was.

    Of several targets, losses are means over the targets; the interval is then the mean of their intervals, which is
    wider than that of the mean.

    Args:
        layer: Name of the layer.
        role: "dense", "cross", "head", "table" or "other".
        technique: Such as "Prune".
        strength: In the technique's own terms: share of zeros, of units gone or of the rank kept, a rank, how many
            shared values, or bits.
        setting: The strength in words.
        auc_loss: AUC before minus AUC after: above zero where it hurts.
        low: Lower end of the paired 95% interval of the loss.
        high: Its upper end.
        log_loss: Log loss after minus log loss before, in nats.
        logit_error: Root of the mean square change of the logit.
        bytes_saved: Of the layer's float32 weights; of their gzip, where zeros or shared values save them.
        multiplies_saved: Multiplications a row.
        by_target: AUC loss of each target.

    Raises:
        TfshopError: Where the interval does not hold the loss.
    """

    layer: str
    role: str
    technique: str
    strength: float
    setting: str
    auc_loss: float
    low: float
    high: float
    log_loss: float
    logit_error: float
    bytes_saved: int
    multiplies_saved: int
    by_target: Mapping[str, float]

    def __post_init__(self) -> None:
        """Refuse what no measurement can give."""
        if not self.low <= self.auc_loss <= self.high:
            raise TfshopError(
                f"AUC loss {self.auc_loss} of {self.layer!r}, with interval [{self.low}, {self.high}]. Expected the "
                "loss inside its interval. Fix: take the values from sensitivity()."
            )

    @property
    def key(self) -> tuple[str, str, float]:
        """Layer, technique and strength: what tells a trial from the others."""
        return self.layer, self.technique, self.strength

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "by_target": dict(self.by_target)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trial:
        """The inverse of `to_dict`.

        Raises:
            TfshopError: For data of another shape.
        """
        names = {field.name for field in fields(cls)}
        if set(data) != names:
            raise TfshopError(
                f"a trial with {', '.join(sorted(data))}. Expected {', '.join(sorted(names))}. Fix: measure again; "
                "another version of tfshop wrote this."
            )
        return cls(**data)
