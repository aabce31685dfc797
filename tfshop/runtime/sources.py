"""What can be scored: bytes, a file, an artifact's folder, an artifact."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from tfshop.errors import ArtifactError

if TYPE_CHECKING:
    from tfshop.data.schema import Schema

MODEL_FILE = "model.tflite"
SCHEMA_FILE = "schema.json"


@runtime_checkable
class HasModelBytes(Protocol):
    """Anything that carries a file's bytes, such as an `Artifact`."""

    @property
    def model_bytes(self) -> bytes:
        """The `.tflite`."""


Source: TypeAlias = "bytes | bytearray | memoryview | str | os.PathLike[str] | HasModelBytes"


def model_bytes(source: Source) -> bytes:
    """The bytes of a `.tflite`.

    Args:
        source: Bytes, path of a `.tflite`, path of an artifact's folder, or an object with `model_bytes`.

    Raises:
        ArtifactError: For a path without a file, an empty file, or something else altogether.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, os.PathLike)):
        return _read(Path(source))
    if isinstance(source, HasModelBytes):
        return source.model_bytes
    raise ArtifactError(
        f"the model to score is a {type(source).__name__}. Expected bytes, a path to a `.tflite` or to an artifact's "
        "folder, or an Artifact. Fix: pass Path('tflite/mine') or result.artifact."
    )


def schema_of(source: Source) -> Schema | None:
    """The schema that comes with an artifact or its folder; None for bare bytes or a bare file."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source) / SCHEMA_FILE
        if not path.is_file():
            return None
        from tfshop.data.schema import Schema  # noqa: PLC0415  (a bare file is scored without the data room)

        return Schema.from_json(path.read_text(encoding="utf-8"))
    return getattr(source, "schema", None)


def _read(path: Path) -> bytes:
    """A file's bytes, or those of the model in an artifact's folder."""
    file = path / MODEL_FILE if path.is_dir() else path
    if not file.is_file():
        raise ArtifactError(
            f"{str(path)!r} holds no model: {str(file)!r} does not exist. Expected a `.tflite`, or a folder with "
            f"{MODEL_FILE}. Fix: give the path that Artifact.save was called with."
        )
    return file.read_bytes()
