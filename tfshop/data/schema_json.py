"""A schema as JSON text, and back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from tfshop.data.features import feature_from_dict, feature_to_dict
from tfshop.data.hashing import HashTable
from tfshop.data.vocabulary import NumericStatistics, Vocabulary
from tfshop.errors import SchemaError

if TYPE_CHECKING:
    from tfshop.data.schema import Schema

_FORMAT = 1


def schema_json(schema: Schema) -> str:
    """Return a schema as JSON, fitted state included."""
    content = {
        "format": _FORMAT,
        "features": [feature_to_dict(feature) for feature in schema.features],
        "target": schema.target,
        "group": schema.group,
        "time": schema.time,
        "decisions": list(schema.decisions),
        "statistics": {name: statistics.to_dict() for name, statistics in schema.statistics.items()},
        "hash_tables": {name: asdict(table) for name, table in schema.hash_tables.items()},
        "vocabularies": {name: vocabulary.to_dict() for name, vocabulary in schema.vocabularies.items()},
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def schema_of_json(kind: type[Schema], text: str) -> Schema:
    """Return the schema, of a class, that `schema_json` wrote down.

    Raises:
        SchemaError: For text that is not such JSON.
    """
    try:
        content = json.loads(text)
        if content["format"] != _FORMAT:
            raise SchemaError(
                f"the schema's JSON has format {content['format']!r}. Expected {_FORMAT}. "
                "Fix: read it with the version of tfshop that wrote it."
            )
        return kind(
            [feature_from_dict(item) for item in content["features"]],
            target=content["target"],
            group=content["group"],
            time=content["time"],
            vocabularies={name: Vocabulary.from_dict(item) for name, item in content["vocabularies"].items()},
            hash_tables={name: HashTable(**item) for name, item in content.get("hash_tables", {}).items()},
            statistics={name: NumericStatistics(**item) for name, item in content["statistics"].items()},
            decisions=content["decisions"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise SchemaError(
            f"the text is not a schema's JSON ({type(error).__name__}: {error}). "
            "Expected what schema.to_json() wrote. Fix: write it again."
        ) from error
