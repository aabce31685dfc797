"""What is handed over: a folder that says what it is, and proves it."""

from __future__ import annotations

from tfshop.artifact.artifact import FLOAT_MODES, GOLDEN_TOLERANCE, INTEGER_TOLERANCE, MEAN_SHARE, Artifact
from tfshop.artifact.golden import GOLDEN_ROWS, Golden
from tfshop.artifact.manifest import FORMAT, MANIFEST, PACKAGES, installed_versions, require_artifact_or_nothing

__all__ = [
    "FLOAT_MODES",
    "FORMAT",
    "GOLDEN_ROWS",
    "GOLDEN_TOLERANCE",
    "INTEGER_TOLERANCE",
    "MANIFEST",
    "MEAN_SHARE",
    "PACKAGES",
    "Artifact",
    "Golden",
    "installed_versions",
    "require_artifact_or_nothing",
]
