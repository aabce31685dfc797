"""Export: kinds of files, the stock converter with a say in what stays float, and plans."""

from __future__ import annotations

from tfshop.export.convert import convert
from tfshop.export.exporter import Export
from tfshop.export.modes import MODES, Mode
from tfshop.export.plan import Plan, chain

__all__ = ["MODES", "Export", "Mode", "Plan", "chain", "convert"]
