"""The command line: the same verbs, for people without a notebook and for scripts."""

from __future__ import annotations

from tfshop.cli.app import app, main

__all__ = ["app", "main"]
