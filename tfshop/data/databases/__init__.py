"""Databases: rows of a query, streamed into Parquet files that a lazy table then reads."""

from __future__ import annotations

from tfshop.data.databases.address import is_address
from tfshop.data.databases.reading import DatabaseRead, read_database

__all__ = ["DatabaseRead", "is_address", "read_database"]
