"""What is handed over: a folder that says what it is, and proves it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._folders import new_folder
from tfshop.data.binding import bind
from tfshop.data.schema import InputSpec, Schema
from tfshop.data.split import Split
from tfshop.errors import ArtifactError, SchemaError, ScoringError
from tfshop.evaluation.evaluation import Evaluation
from tfshop.report.handover import handover_readme, hashing_page, vocabulary_file
from tfshop.runtime import Scorer

FORMAT = 1
GOLDEN_ROWS = 100
FLOAT_MODES = ("float32", "float16")
GOLDEN_TOLERANCE = 1e-4  # between kernels of different processors, in float arithmetic
INTEGER_TOLERANCE = 2e-2  # three times the largest gap seen between kernels, 6.2e-3: benchmarks/golden_kernels.py
MEAN_SHARE = 0.1  # of the tolerance, for the mean: few rows meet such a step (2.0e-4 at most between kernels)
MANIFEST = "manifest.json"
PACKAGES = ("tfshop", "tensorflow", "tf_keras", "tensorflow-model-optimization", "ai-edge-litert", "numpy")


@dataclass(frozen=True, eq=False)
class Golden:
    """Inputs with the scores the file gave them: whoever integrates the file compares with these.

    Attributes:
        inputs: Arrays (rows, …) by input name of the file.
        scores: float32 (rows,), or (rows, width) of vectors; by output name where the file has several outputs.
    """

    inputs: Mapping[str, NDArray[Any]]
    scores: NDArray[np.float32] | Mapping[str, NDArray[np.float32]]

    @classmethod
    def of(cls, content: bytes, split: Split) -> Golden:
        """A sample of a split with its scores."""
        rows = split.take(GOLDEN_ROWS, seed=0)  # the first rows of a log are often of one user
        scorer = Scorer(content, schema=rows.schema)
        specs = {name: InputSpec(spec.shape, spec.dtype) for name, spec in scorer.inputs.items()}
        inputs = bind(rows.inputs, rows.schema, specs)
        return cls(inputs, scorer(inputs))

    @property
    def by_output(self) -> dict[str, NDArray[np.float32]]:
        """The scores by the name of the output; under the name "" where there is one."""
        return dict(self.scores) if isinstance(self.scores, Mapping) else {"": self.scores}

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return min(len(scores) for scores in self.by_output.values())

    def gaps(self, scores: Any) -> tuple[float, float] | None:
        """The largest difference of other scores of the same inputs, and the mean one, of the output that is worst.

        None for no rows, and for other shapes or outputs.
        """
        other = replace(self, scores=scores).by_output
        if {name: found.shape for name, found in other.items()} != {n: s.shape for n, s in self.by_output.items()}:
            return None
        if not self.num_rows:
            return None
        gaps = [np.abs(found - self.by_output[name]) for name, found in other.items()]
        return float(np.max([gap.max() for gap in gaps])), float(np.max([gap.mean() for gap in gaps]))

    def to_bytes(self) -> bytes:
        """A NumPy archive: one array an input, and `scores`, or of several outputs `scores_<output>`."""
        buffer = BytesIO()
        arrays: dict[str, Any] = {f"input_{name}": values for name, values in self.inputs.items()}
        arrays.update({f"scores_{name}" if name else "scores": values for name, values in self.by_output.items()})
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Golden:
        """Inverse of `to_bytes`; no pickled object is accepted."""
        with np.load(BytesIO(content), allow_pickle=False) as archive:
            names = [name for name in archive.files if name.startswith("input_")]
            inputs = {name.removeprefix("input_"): archive[name] for name in names}
            if "scores" in archive.files:
                return cls(inputs, archive["scores"])
            outputs = [name for name in archive.files if name.startswith("scores_")]
            if not outputs:
                raise KeyError("scores")
            return cls(inputs, {name.removeprefix("scores_"): archive[name] for name in outputs})


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
        manifest = {
            "format": FORMAT,
            "versions": dict(self.versions),
            "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
        }
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
        files, manifest = _verified_files(place)
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
            held = {name: values.shape for name, values in self.golden.by_output.items()}
            raise ArtifactError(
                f"golden.npz holds scores of shapes {held}, the file gives {_shapes(scores)}. Expected as many, at "
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
    given = scores if isinstance(scores, Mapping) else {"": scores}
    return {name: values.shape for name, values in given.items()}


def _plan(content: Any) -> dict[str, Any]:
    """A plan's plain data; ValueError for anything else."""
    if not isinstance(content, dict) or not isinstance(content.get("exporter", {}), dict):
        raise ValueError("plan.json holds no plan")
    return content


def installed_versions() -> Mapping[str, str]:
    """Versions of Python and of the packages that decide what is in a file."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _verified_files(place: Path) -> tuple[dict[str, bytes], Mapping[str, Any]]:
    """All files of an artifact by name, each with the hash its manifest gives."""
    manifest = _manifest(place)
    files = {}
    for name, expected in manifest["sha256"].items():
        path = place / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise ArtifactError(f"{place / MANIFEST} names {name!r}, outside the artifact. Fix: get the artifact anew.")
        if not path.is_file():
            raise ArtifactError(f"{place} lacks {name}. Expected every file of its manifest. Fix: copy it again.")
        files[name] = path.read_bytes()
        found = hashlib.sha256(files[name]).hexdigest()
        if found != expected:
            raise ArtifactError(
                f"{path} has SHA-256 {found[:12]}…, the manifest says {expected[:12]}…: it was altered or cut short. "
                "Expected the file as it was saved. Fix: copy or download the artifact again."
            )
    return files, manifest


def require_artifact_or_nothing(place: Path) -> None:
    """Raise `ArtifactError` for a place that holds something else than an artifact."""
    if place.exists() and not _is_artifact(place) and (place.is_file() or any(place.iterdir())):
        raise ArtifactError(
            f"{place} exists and holds no tfshop artifact. Expected a new or empty folder, or an artifact to "
            "replace. Fix: give another folder, or move what is there away."
        )


def _is_artifact(place: Path) -> bool:
    """Whether a folder was written by `Artifact.save`: other things have a manifest.json too."""
    try:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        return "format" in manifest and "model.tflite" in manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _manifest(place: Path) -> Mapping[str, Any]:
    path = place / MANIFEST
    if not path.is_file():
        raise ArtifactError(
            f"{place} has no {MANIFEST}. Expected a folder written by Artifact.save. Fix: check the path; "
            "a bare .tflite goes to Scorer(path)."
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        known = manifest["format"] == FORMAT and isinstance(manifest["sha256"], dict)
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path} is not readable: {error}. Fix: copy the artifact again.") from error
    if not known:
        raise ArtifactError(
            f"{path} is of format {manifest['format']!r}. Expected {FORMAT}. Fix: use the tfshop that wrote it, "
            f"{manifest.get('versions', {}).get('tfshop', 'of unknown version')}."
        )
    missing = {"model.tflite", "schema.json", "golden.npz", "plan.json", "evaluation.json"} - set(manifest["sha256"])
    if missing:
        raise ArtifactError(f"{path} does not list {', '.join(sorted(missing))}. Fix: copy the artifact again.")
    return manifest  # type: ignore[no-any-return]  # JSON
