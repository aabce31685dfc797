"""What was found: a table of trials, and what follows from it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfshop.errors import TfshopError
from tfshop.evaluation.delong import LOST_NOTHING
from tfshop.evaluation.trial import Trial
from tfshop.report.units import size_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FORMAT = 1


@dataclass(frozen=True)
class Sensitivity:
    """What each layer of a network loses by each technique at each strength, alone and without training.

    Args:
        network: Its name.
        num_rows: Validation rows that were scored.
        trials: By layer in the order of the graph, then technique, then strength.
        left_alone: What was not treated: layer, class, pass, reason.

    Example:
        >>> losses = {"auc_loss": 0.001, "low": 0.0, "high": 0.002, "log_loss": 0.0, "logit_error": 0.1}
        >>> saved = {"bytes_saved": 300, "multiplies_saved": 0}
        >>> trial = Trial("dense_0", "dense", "Quantize", 8, "8 bits", **losses, **saved, by_target={"y": 0.001})
        >>> found = Sensitivity("mlp", 1000, (trial,))
        >>> found.hurt("Quantize", 8)
        ['dense_0']
    """

    network: str
    num_rows: int
    trials: tuple[Trial, ...]
    left_alone: tuple[Mapping[str, str], ...] = ()

    @property
    def layers(self) -> list[str]:
        """Layers that were changed, in the order of the graph."""
        return list(dict.fromkeys(trial.layer for trial in self.trials))

    @property
    def techniques(self) -> list[str]:
        """Techniques that were tried."""
        return list(dict.fromkeys(trial.technique for trial in self.trials))

    def ranked(self, technique: str | None = None, strength: float | None = None) -> list[Trial]:
        """The trial of each layer that lost most, the most sensitive layer first.

        Args:
            technique: Only that one.
            strength: Only that one.

        Raises:
            TfshopError: Where nothing was tried so.
        """
        chosen = sorted(self._tried(technique, strength), key=lambda trial: -trial.auc_loss)
        found: dict[str, Trial] = {}
        for trial in chosen:
            found.setdefault(trial.layer, trial)
        return list(found.values())

    def worst(self, count: int, technique: str | None = None, strength: float | None = None) -> list[str]:
        """Names of the most sensitive layers, the ones to leave alone."""
        return [trial.layer for trial in self.ranked(technique, strength)[:count]]

    def hurt(self, technique: str, strength: float, *, limit: float = LOST_NOTHING) -> list[str]:
        """Layers that lose more AUC than a limit, the most sensitive first."""
        return [trial.layer for trial in self.ranked(technique, strength) if trial.auc_loss > limit]

    def strongest(self, technique: str, *, limit: float = LOST_NOTHING) -> dict[str, float | None]:
        """For each layer, how far a technique can go before it loses more AUC than a limit; None for no strength tried.

        Strengths are taken in the order of the bytes they save, up to the first that loses more. A plan with different
        strengths for different layers is made of it: `Prune(layers=found.strongest("Prune"))` leaves a None alone.
        """
        found: dict[str, float | None] = {}
        over: set[str] = set()
        for trial in sorted(self._tried(technique, None), key=lambda trial: trial.bytes_saved):
            found.setdefault(trial.layer, None)
            if trial.auc_loss > limit:
                over.add(trial.layer)
            if trial.layer not in over:
                found[trial.layer] = trial.strength
        return {layer: found[layer] for layer in self.layers if layer in found}

    def table(self) -> pd.DataFrame:
        """One row a trial; AUC losses of several targets in columns `auc_loss_<target>`."""
        import pandas as pd  # noqa: PLC0415  (only who asks for a table waits for it)

        rows: list[dict[str, Any]] = []
        for trial in self.trials:
            row = trial.to_dict()
            by_target = row.pop("by_target")
            rows.append({**row, **({f"auc_loss_{t}": v for t, v in by_target.items()} if len(by_target) > 1 else {})})
        table: pd.DataFrame = pd.DataFrame(rows)
        return table

    def figure(self) -> Figure:
        """AUC loss by layer and strength, a panel a technique."""
        from tfshop.report.figures import draw_sensitivity  # noqa: PLC0415  (matplotlib only where a picture is asked for)

        return draw_sensitivity(self.network, self.trials)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write sensitivity.json, .csv, .png and .svg; other files of the folder stay.

        Returns:
            The folder.
        """
        from tfshop.report.pictures import picture_bytes  # noqa: PLC0415  (as above)

        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        figure = self.figure()
        content = {
            "json": self.to_json().encode(),
            "csv": self.table().to_csv(index=False).encode(),
            **{kind: picture_bytes(figure, kind) for kind in ("png", "svg")},
        }
        for kind, written in content.items():
            (place / f"sensitivity.{kind}").write_bytes(written)
        return place

    def to_json(self) -> str:
        """Text that `from_json` reads back, exactly."""
        return json.dumps(
            {
                "format": FORMAT,
                "network": self.network,
                "num_rows": self.num_rows,
                "trials": [trial.to_dict() for trial in self.trials],
                "left_alone": [dict(row) for row in self.left_alone],
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> Sensitivity:
        """Read what `to_json` wrote.

        Raises:
            TfshopError: For other text.
        """
        try:
            data = json.loads(text)
        except ValueError as error:
            raise TfshopError(f"this is no JSON: {error}. Expected what Sensitivity.to_json() wrote.") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise TfshopError(f"this is no sensitivity of format {FORMAT}. Expected what Sensitivity.to_json() wrote.")
        trials = tuple(Trial.from_dict(row) for row in data["trials"])
        return cls(data["network"], data["num_rows"], trials, tuple(data["left_alone"]))

    def __str__(self) -> str:
        """The most sensitive setting of each layer, the most sensitive layer first."""
        lines = [f"{self.network}: {len(self.trials)} trials on {self.num_rows:,} validation rows; worst of each layer"]
        for trial in self.ranked():
            ends = f"[{trial.low:+.4f}, {trial.high:+.4f}]"
            saved = f"saves {size_text(trial.bytes_saved)}, {trial.multiplies_saved:,} multiplies a row"
            lines.append(
                f"  {trial.layer}: {trial.technique}, {trial.setting}: AUC loss {trial.auc_loss:+.4f} {ends}, {saved}"
            )
        return "\n".join(lines)

    def _tried(self, technique: str | None, strength: float | None) -> list[Trial]:
        found = [
            trial
            for trial in self.trials
            if technique in {None, trial.technique} and strength in {None, trial.strength}
        ]
        if not found:
            tried = dict.fromkeys(f"{trial.technique} at {trial.strength:g}" for trial in self.trials)
            raise TfshopError(
                f"nothing was tried with technique {technique!r} at strength {strength!r}. Expected one of "
                f"{_listed(tried)}. Fix: measure it with sensitivity(model, data, passes)."
            )
        return found


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none at all"
