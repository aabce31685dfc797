"""What each layer stands: techniques tried on one layer at a time, on activations that are kept."""

from __future__ import annotations

from tfshop.probing.change import Change
from tfshop.probing.findings import Sensitivity
from tfshop.probing.measuring import sensitivity
from tfshop.probing.technique import Technique
from tfshop.probing.techniques import TECHNIQUES, techniques_of

__all__ = ["TECHNIQUES", "Change", "Sensitivity", "Technique", "sensitivity", "techniques_of"]
