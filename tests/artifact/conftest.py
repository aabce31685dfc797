"""What the tests of artifacts share: two of them, one saved, and copies to damage."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfshop.artifact import MANIFEST, Artifact, Golden
from tfshop.data import Splits
from tfshop.evaluation.measured import measure_file
from tfshop.export import Export, chain

FILES = {
    "model.tflite",
    "schema.json",
    "vocabularies/id_0.json",
    "vocabularies/id_1.json",
    "vocabularies/id_2.json",
    "golden.npz",
    "plan.json",
    "history.json",
    "evaluation.json",
    "README.md",
    MANIFEST,
}


def make_artifact(content: bytes, data: Splits, *, measured: bool = True) -> Artifact:
    return Artifact(
        model_bytes=content,
        schema=data.schema,
        plan=chain(Export("int8")).to_dict(),
        golden=Golden.of(content, data.validation),
        evaluation=measure_file("int8", content, data).evaluation if measured else None,
        history=({"name": "Prune", "notes": {"sparsity": 0.5}},),
    )


@pytest.fixture(scope="session")
def artifact(exported: Callable[[str, str], bytes], clicks: Splits) -> Artifact:
    """The int8 perceptron, measured."""
    return make_artifact(exported("mlp", "int8"), clicks)


@pytest.fixture(scope="session")
def other(exported: Callable[[str, str], bytes], clicks: Splits) -> Artifact:
    """Another file for the same place."""
    return make_artifact(exported("mlp", "float32"), clicks, measured=False)


@pytest.fixture(scope="session")
def saved(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder; tests copy it before they damage it."""
    return artifact.save(tmp_path_factory.mktemp("artifacts") / "deep" / "mine")


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def rewrite(folder: Path, name: str, content: bytes, **manifest: Any) -> None:
    """Change a file together with its hash: what a clumsy tool, not a careless download, would do."""
    (folder / name).write_bytes(content)
    known = json.loads((folder / MANIFEST).read_text())
    known["sha256"][name] = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_text(json.dumps({**known, **manifest}))
