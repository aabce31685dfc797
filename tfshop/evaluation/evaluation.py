"""The value that evaluation hands over: every number of one file, units in the names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from tfshop.errors import ArtifactError, TfshopError
from tfshop.evaluation.delong import AucDifference
from tfshop.evaluation.metrics import Metrics
from tfshop.runtime.latency_types import Latency, LatencyRow

Value = TypeVar("Value")


@dataclass(frozen=True)
class TargetEvaluation:
    """What was measured of one target of several, as in `Evaluation`."""

    validation: Metrics
    test: Metrics
    auc_difference_validation: AucDifference | None = None
    auc_difference_test: AucDifference | None = None


@dataclass(frozen=True)
class Evaluation:
    """What was measured on one file.

    Of several targets, `validation`, `test` and the differences are those of the first; `evaluation.of(target)` has
    those of another.

    Args:
        name: Of the file, as tables and pictures show it.
        validation: On the split that limits are judged on.
        test: On the split that is only reported.
        size_bytes: Of the file as it is.
        gzip_bytes: Of the file as it is downloaded.
        latency: Times by batch; None where it was not timed.
        auc_difference_validation: To the baseline; None for the baseline itself.
        auc_difference_test: To the baseline; None for the baseline itself.
        notes: Remarks of the audit and of whoever measured, in sentences.
        targets: Target to what was measured of it, in order; empty where there is one.

    Raises:
        TfshopError: For an empty name or a size under one byte.
    """

    name: str
    validation: Metrics
    test: Metrics
    size_bytes: int
    gzip_bytes: int
    latency: Latency | None = None
    auc_difference_validation: AucDifference | None = None
    auc_difference_test: AucDifference | None = None
    notes: tuple[str, ...] = ()
    targets: Mapping[str, TargetEvaluation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what no measurement can give."""
        if not self.name or self.size_bytes < 1 or self.gzip_bytes < 1:
            raise TfshopError(
                f"evaluation {self.name!r}, {self.size_bytes} bytes, {self.gzip_bytes} gzipped. "
                "Expected a name and sizes of at least one byte. Fix: measure the exported file."
            )

    @property
    def each(self) -> dict[str, Evaluation]:
        """The file as seen by each target, in order; under the name "" where there is one."""
        return {target: self.of(target) for target in self.targets} or {"": self}

    def of(self, target: str) -> Evaluation:
        """The same file with the numbers of one of several targets.

        Raises:
            TfshopError: For a target that was not measured.
        """
        if target not in self.targets:
            raise TfshopError(
                f"evaluation {self.name!r} has no target {target!r}. Expected one of "
                f"{', '.join(self.targets) or 'none: it has a single one'}. Fix: evaluation.of(…) with one of those."
            )
        found = self.targets[target]
        return replace(self, targets={}, **{item.name: getattr(found, item.name) for item in fields(found)})

    @property
    def mean_validation_auc(self) -> float:
        """The AUC on validation, averaged over the targets."""
        aucs = [evaluation.validation.auc for evaluation in self.each.values()]
        return sum(aucs) / len(aucs)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; `from_dict` gives back an equal value."""
        content = asdict(self)
        content["notes"] = list(self.notes)
        if self.latency is not None:
            content["latency"]["rows"] = [asdict(row) for row in self.latency.rows]
        if not self.targets:
            del content["targets"]
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Evaluation:
        """The value that `to_dict` made plain.

        Raises:
            ArtifactError: For missing or unknown keys, naming them, and for values of another kind.
            TfshopError: For values that no measurement can give.
        """
        try:
            return _read(cls, _parts(content), "evaluation")
        except (AttributeError, TypeError) as error:
            raise ArtifactError(
                f"evaluation, a value of another kind ({error}). Expected what Evaluation.to_dict() gives. "
                "Fix: measure the file again with this version of tfshop."
            ) from error


def _parts(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with its nested parts built."""
    targets = content.get("targets", {})
    return {
        **content,
        **_numbers(content),
        "latency": _read_latency(content.get("latency")),
        "notes": tuple(content.get("notes", ())),
        "targets": {
            target: _read(TargetEvaluation, {**part, **_numbers(part)}, f"target {target!r}")
            for target, part in targets.items()
        },
    }


def _numbers(content: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics and differences with their nested parts built."""
    parts: dict[str, Any] = {name: _read(Metrics, content.get(name), name) for name in ("validation", "test")}
    for name in ("auc_difference_validation", "auc_difference_test"):
        if content.get(name) is not None:
            parts[name] = _read(AucDifference, content[name], name)
    return parts


def _read_latency(content: Mapping[str, Any] | None) -> Latency | None:
    if content is None:
        return None
    rows = tuple(_read(LatencyRow, row, "latency row") for row in content.get("rows", ()))
    return _read(Latency, {**content, "rows": rows}, "latency")


def _read(kind: type[Value], content: object, what: str) -> Value:
    """Build a dataclass from a mapping with exactly its fields.

    Raises:
        ArtifactError: Where it has others.
    """
    expected = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    given = dict(content) if isinstance(content, Mapping) else {}
    found = set(given)
    if found != expected:
        raise ArtifactError(
            f"evaluation, {what} lacks {sorted(expected - found)} and has unknown {sorted(found - expected)}. "
            f"Expected exactly {sorted(expected)}. Fix: measure the file again with this version of tfshop."
        )
    return kind(**given)
