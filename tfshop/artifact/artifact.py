"""What is handed over: a folder that says what it is, and proves it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfshop._folders import new_folder
from tfshop.artifact.golden import Golden, by_output
from tfshop.artifact.manifest import (
    FORMAT,
    MANIFEST,
    installed_versions,
    manifest_of,
    require_artifact_or_nothing,
    verified_files,
)
from tfshop.data.schema import Schema
from tfshop.errors import ArtifactError, SchemaError, ScoringError
from tfshop.evaluation.evaluation import Evaluation
from tfshop.report.handover import handover_readme, hashing_page, vocabulary_file
from tfshop.runtime import Scorer

FLOAT_MODES = ("float32", "float16")
GOLDEN_TOLERANCE = 1e-4  # between kernels of different processors, in float arithmetic
INTEGER_TOLERANCE = 2e-2  # three times the largest gap seen between kernels, 6.2e-3: benchmarks/golden_kernels.py
MEAN_SHARE = 0.1  # of the tolerance, for the mean: few rows meet such a step (2.0e-4 at most between kernels)


@dataclass(frozen=True, eq=False)
class Artifact:
    """A `.tflite` with all that is needed to use it and to trust it.

    Attributes:
        model_bytes: The `.tflite`.
        schema: How strings become ids; fitted.
        plan: The plan that made it, as plain data.
        golden: Inputs with their scores.
        evaluation: What was measured on it; None where nothing was.
        history: What each pass did, as plain data.
        versions: Of Python and the packages that made it.

    Example:
        >>> artifact = Artifact.load("tflite/demo/int8")  # doctest: +SKIP
        >>> artifact.golden.num_rows, artifact.tolerance, artifact.verify() <= artifact.tolerance  # doctest: +SKIP
        (100, 0.02, True)
    """

    model_bytes: bytes = field(repr=False)
    schema: Schema = field(repr=False)
    plan: Mapping[str, Any]
    golden: Golden = field(repr=False)
    evaluation: Evaluation | None = None
    history: tuple[Mapping[str, Any], ...] = ()
    versions: Mapping[str, str] = field(default_factory=lambda: dict(installed_versions()))

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the folder beside its place and rename it there; an older artifact there is replaced.

        Raises:
            ArtifactError: Where the folder holds something that is no artifact.
        """
        place = Path(folder)
        require_artifact_or_nothing(place)
        files = self._files()
        manifest = manifest_of(files, self.versions)
        with new_folder(place) as fresh:
            for name, content in {**files, MANIFEST: _json(manifest)}.items():
                (fresh / name).parent.mkdir(exist_ok=True)
                (fresh / name).write_bytes(content)
        return place

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Artifact:
        """Read a folder back, verifying hashes and golden scores; no code in it is run.

        Raises:
            ArtifactError: For a folder that is incomplete, altered, of another format, or whose file does not give
                its golden scores here.
        """
        place = Path(folder)
        files, manifest = verified_files(place)
        try:
            evaluation = json.loads(files["evaluation.json"])
            artifact = cls(
                model_bytes=files["model.tflite"],
                schema=Schema.from_json(files["schema.json"].decode()),
                plan=_plan(json.loads(files["plan.json"])),
                golden=Golden.from_bytes(files["golden.npz"]),
                evaluation=None if evaluation is None else Evaluation.from_dict(evaluation),
                history=tuple(json.loads(files["history.json"])),
                versions=manifest["versions"],
            )
        except (KeyError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, SchemaError) as error:
            raise ArtifactError(
                f"{place} has the right hashes but cannot be read: {type(error).__name__}: {error}. Expected an "
                f"artifact of format {FORMAT}. Fix: write it again with this version of tfshop."
            ) from error
        artifact.verify()
        return artifact

    @property
    def tolerance(self) -> float:
        """How far scores on another processor may be from the golden ones."""
        mode = self.plan.get("exporter", {}).get("mode", "float32")
        return GOLDEN_TOLERANCE if mode in FLOAT_MODES else INTEGER_TOLERANCE

    def verify(self) -> float:
        """Score the golden inputs and return the largest difference.

        Raises:
            ArtifactError: Where it is over `tolerance`, or the file does not take its own golden inputs.
        """
        try:
            scores = Scorer(self.model_bytes, schema=self.schema)(self.golden.inputs)
        except ScoringError as error:
            raise ArtifactError(f"model.tflite does not take its golden inputs: {error}") from error
        gaps = self.golden.gaps(scores)
        if gaps is None:
            held, given = _shapes(self.golden.scores), _shapes(scores)
            raise ArtifactError(
                f"golden.npz holds scores of shapes {held}, the file gives {given}. Expected as many, at "
                "least one, for the same outputs. Fix: get the artifact anew."
            )
        gap, mean = gaps
        if not (gap <= self.tolerance and mean <= MEAN_SHARE * self.tolerance):  # NaN is refused too
            raise ArtifactError(
                f"model.tflite gives scores that differ from its golden ones by {gap:.1e}, {mean:.1e} on average. "
                f"Expected at most {self.tolerance:.0e} and {MEAN_SHARE * self.tolerance:.0e}. Fix: get the artifact "
                "anew; if it was made on another processor, compare LiteRT's version with the one in manifest.json."
            )
        return gap

    def _files(self) -> dict[str, bytes]:
        vocabularies = {
            vocabulary_file(table): _json(vocabulary.values.to_pylist())
            for table, vocabulary in self.schema.vocabularies.items()
        }
        return {
            "model.tflite": self.model_bytes,
            "schema.json": self.schema.to_json().encode(),
            **vocabularies,
            **({"hashing.md": hashing_page()} if any(f.is_hashed for f in self.schema.id_features) else {}),
            "golden.npz": self.golden.to_bytes(),
            "plan.json": _json(self.plan),
            "history.json": _json(list(self.history)),
            "evaluation.json": _json(None if self.evaluation is None else self.evaluation.to_dict()),
            "README.md": self._readme().encode(),
        }

    def _readme(self) -> str:
        name = "model" if self.evaluation is None else self.evaluation.name
        return handover_readme(
            self.model_bytes,
            self.schema,
            name=name,
            golden=(self.golden.num_rows, self.tolerance),
            evaluation=self.evaluation,
        )


def _shapes(scores: Any) -> dict[str, tuple[int, ...]]:
    return {name: values.shape for name, values in by_output(scores).items()}


def _plan(content: Any) -> dict[str, Any]:
    """A plan's plain data; ValueError for anything else."""
    if not isinstance(content, dict) or not isinstance(content.get("exporter", {}), dict):
        raise ValueError("plan.json holds no plan")
    return content


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
