"""Errors a user of tfshop can meet.

Every message names the thing, what was found, what was expected, and the fix.
"""

from __future__ import annotations


class TfshopError(Exception):
    """Base of every error that tfshop raises on purpose."""


class SchemaError(TfshopError):
    """A schema that contradicts itself or the table it describes."""


class DataError(TfshopError):
    """A table, file or split that cannot be read or learned from."""


class ModelError(TfshopError):
    """A network that tfshop cannot take."""


class PlanError(TfshopError):
    """A plan or pass that cannot work, refused before anything is trained."""


class ExportError(TfshopError):
    """A network that the converter could not turn into a `.tflite`."""


class AuditError(TfshopError):
    """An exported file that lost something that matters."""


class LimitError(TfshopError):
    """No file met the limits; `best` holds the closest result."""

    def __init__(self, message: str, best: object = None) -> None:
        super().__init__(message)
        self.best = best


class ArtifactError(TfshopError):
    """An artifact folder that is incomplete, altered or of another version."""


class ScoringError(TfshopError):
    """Inputs that do not fit the file they are scored with."""
