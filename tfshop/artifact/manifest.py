"""The manifest: format, versions, and the SHA-256 of every file, by which a folder is known and checked."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from tfshop.errors import ArtifactError

FORMAT = 1
MANIFEST = "manifest.json"
PACKAGES = ("tfshop", "tensorflow", "tf_keras", "tensorflow-model-optimization", "ai-edge-litert", "numpy")


def manifest_of(files: Mapping[str, bytes], versions: Mapping[str, str]) -> dict[str, Any]:
    """The manifest of an artifact's files, as plain data."""
    return {
        "format": FORMAT,
        "versions": dict(versions),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    }


def installed_versions() -> Mapping[str, str]:
    """Versions of Python and of the packages that decide what is in a file."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def verified_files(place: Path) -> tuple[dict[str, bytes], Mapping[str, Any]]:
    """All files of an artifact by name, each with the hash its manifest gives; and the manifest.

    Raises:
        ArtifactError: For a folder that is incomplete, altered, or of another format.
    """
    manifest = _read_manifest(place)
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


def _read_manifest(place: Path) -> Mapping[str, Any]:
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
