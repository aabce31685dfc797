"""A folder is what its manifest says, or it is refused by the name of the file that is not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from artifact.conftest import FILES
from tfshop.artifact import MANIFEST, Artifact
from tfshop.errors import ArtifactError


@pytest.mark.parametrize("name", sorted(FILES - {MANIFEST}))
def test_any_altered_file_is_refused_by_name(name: str, copy: Path) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"{name}.*(altered or cut short).*Fix:"):
        Artifact.load(copy)


@pytest.mark.parametrize("name", sorted(FILES))
def test_any_missing_file_is_refused_by_name(name: str, copy: Path) -> None:
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match=rf"{name}.*Fix:"):
        Artifact.load(copy)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_model_is_refused(share: float, copy: Path) -> None:
    content = (copy / "model.tflite").read_bytes()
    (copy / "model.tflite").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArtifactError, match=r"model\.tflite.*Fix:"):
        Artifact.load(copy)


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"format": 1}',
        '{"format": 1, "sha256": []}',
        '{"format": 1, "sha256": {}}',
        '{"format": 99, "sha256": {}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_manifest_is_refused(manifest: str | bytes, copy: Path) -> None:
    (copy / MANIFEST).write_bytes(manifest if isinstance(manifest, bytes) else manifest.encode())
    with pytest.raises(ArtifactError, match=rf"{MANIFEST}.*Fix:"):
        Artifact.load(copy)


def test_a_manifest_of_another_format_names_the_version_that_wrote_it(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps({**manifest, "format": 2, "versions": {"tfshop": "9.9"}}))
    with pytest.raises(ArtifactError, match=r"format 2. Expected 1. Fix: use the tfshop that wrote it, 9\.9"):
        Artifact.load(copy)


def test_a_manifest_without_versions_is_refused(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    del manifest["versions"]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="Fix:"):
        Artifact.load(copy)


@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_a_manifest_that_points_outside_is_refused_and_the_file_not_read(kind: str, copy: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    manifest = json.loads((copy / MANIFEST).read_text())
    name = "../secret" if kind == "relative" else str(secret)
    manifest["sha256"][name] = hashlib.sha256(b"secret").hexdigest()
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="outside the artifact"):
        Artifact.load(copy)


def test_a_folder_that_is_no_artifact_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            ArtifactError, match=rf"has no {MANIFEST}. Expected a folder written by Artifact.save.*Fix:"
        ):
            Artifact.load(place)
