"""The schema: which columns are which features, and after fitting, what was learned about them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from tfshop.data.features import (
    Feature,
    IdFeature,
    NumericFeature,
    SequenceFeature,
    VectorFeature,
)
from tfshop.data.hashing import HashTable
from tfshop.data.schema_checks import require_consistent
from tfshop.data.schema_json import schema_json, schema_of_json
from tfshop.data.schema_text import describe
from tfshop.data.vocabulary import NumericStatistics, Vocabulary
from tfshop.errors import SchemaError

if TYPE_CHECKING:
    from tfshop.data.table import Table


@dataclass(frozen=True)
class InputSpec:
    """Shape (without the batch) and dtype of one input of a network."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, repr=False)
class Schema:
    """Features in order, targets, and after `prepare` the vocabularies and statistics of the training rows.

    Args:
        features: `IdFeature`, `NumericFeature`, `SequenceFeature`, `VectorFeature`, in the order of the inputs.
        target: The column of labels, 0 or 1; a tuple of columns where a network learns several.
        group: The column that says whose row it is (a user, a household), for grouped metrics and splits.
        time: The column that says when it was.
        vocabularies: Table name to `Vocabulary`; filled by `prepare`.
        hash_tables: Table name to `HashTable`, for sequences over a hashed table whose `IdFeature` is not among the
            features: in one tower of two.
        statistics: Numeric feature name to `NumericStatistics`; filled by `prepare`.
        decisions: What `Schema.infer` decided, one sentence a column.

    Raises:
        SchemaError: For no features, two of one name, a target among them, or features of one table that disagree on
            how it is built.

    Example:
        >>> schema = Schema([IdFeature("item"), NumericFeature("price")], target="bought")
        >>> schema.input_specs()
        {'ids': InputSpec(shape=(1,), dtype='int32'), 'numeric': InputSpec(shape=(1,), dtype='float32')}
        >>> Schema.from_json(schema.to_json()) == schema
        True
    """

    features: Sequence[Feature]
    target: str | Sequence[str] = field(kw_only=True)
    group: str | None = field(default=None, kw_only=True)
    time: str | None = field(default=None, kw_only=True)
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict, kw_only=True)
    statistics: Mapping[str, NumericStatistics] = field(default_factory=dict, kw_only=True)
    hash_tables: Mapping[str, HashTable] = field(default_factory=dict, kw_only=True)
    decisions: Sequence[str] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Keep copies nobody else can change, and check them."""
        object.__setattr__(self, "features", tuple(self.features))
        object.__setattr__(self, "target", _one_or_several(self.target))
        object.__setattr__(self, "decisions", tuple(self.decisions))
        object.__setattr__(self, "vocabularies", dict(self.vocabularies))
        object.__setattr__(self, "statistics", dict(self.statistics))
        object.__setattr__(self, "hash_tables", dict(self.hash_tables))
        require_consistent(self)

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns of labels, also where there is one."""
        return (self.target,) if isinstance(self.target, str) else tuple(self.target)

    @property
    def outputs(self) -> dict[str, str]:
        """Target to the name of its output in a network: `probability`, of several targets `probability_<target>`."""
        if len(self.targets) == 1:
            return {self.targets[0]: "probability"}
        return {target: f"probability_{re.sub(r'[^A-Za-z0-9_.-]', '_', target)}" for target in self.targets}

    def by_target(self, values: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
        """Return labels or scores, (n,) of one target and (n, targets) of several, as one array (n,) a target."""
        if len(self.targets) == 1:
            return {self.targets[0]: values}
        return {target: values[:, position] for position, target in enumerate(self.targets)}

    @property
    def id_features(self) -> tuple[IdFeature, ...]:
        """The features in the input `ids`, in the order of its columns; see `id_columns`."""
        return tuple(feature for feature in self.features if isinstance(feature, IdFeature))

    @property
    def id_columns(self) -> tuple[IdFeature, ...]:
        """The feature behind each column of the input `ids`: one a feature, or one for each of its hashes."""
        return tuple(feature for feature in self.id_features for _ in range(feature.hashes))

    @property
    def numeric_features(self) -> tuple[NumericFeature, ...]:
        """The columns of the input `numeric`."""
        return tuple(feature for feature in self.features if isinstance(feature, NumericFeature))

    @property
    def sequence_features(self) -> tuple[SequenceFeature, ...]:
        """The inputs `hist_<feature>`."""
        return tuple(feature for feature in self.features if isinstance(feature, SequenceFeature))

    @property
    def vector_features(self) -> tuple[VectorFeature, ...]:
        """The inputs `vector_<feature>`."""
        return tuple(feature for feature in self.features if isinstance(feature, VectorFeature))

    @property
    def table_names(self) -> tuple[str, ...]:
        """The embedding tables, in the order of their first use."""
        owners = (feature for feature in self.features if isinstance(feature, (IdFeature, SequenceFeature)))
        return tuple(dict.fromkeys(feature.table_name for feature in owners))

    @property
    def vocabulary_names(self) -> tuple[str, ...]:
        """The tables that have a vocabulary, the hashed ones apart, in the order of their first use."""
        return tuple(name for name in self.table_names if self.hash_table(name) is None)

    def hash_table(self, name: str) -> HashTable | None:
        """Return how the ids of a table are hashed, None where it has a vocabulary."""
        for feature in self.id_features:
            if feature.table_name == name and feature.hash_buckets is not None:
                return HashTable(feature.hash_buckets, feature.hashes, feature.hash_seed)
        return self.hash_tables.get(name)

    def lookup(self, name: str) -> Vocabulary | HashTable:
        """Return what turns the ids of a table into its rows; both have `ids(values)` and `num_rows`."""
        return self.hash_table(name) or self.vocabularies[name]

    @property
    def tables(self) -> dict[str, int]:
        """Table name to its number of rows, row 0 (unknown, padding) included, in the order of first use.

        Raises:
            SchemaError: Before `prepare`.
        """
        self.require_fitted()
        return {name: self.lookup(name).num_rows for name in self.table_names}

    @property
    def is_fitted(self) -> bool:
        """Whether every table that is not hashed has its vocabulary and every numeric feature its statistics."""
        numeric = {feature.name for feature in self.numeric_features}
        return set(self.vocabulary_names) <= set(self.vocabularies) and numeric <= set(self.statistics)

    def require_fitted(self) -> None:
        """Raise unless `prepare` has fitted the schema."""
        if not self.is_fitted:
            raise SchemaError(
                "the schema has no vocabularies yet. Expected a fitted schema. "
                "Fix: data = prepare(table, schema, split=...), and use data.schema."
            )

    def input_specs(self) -> dict[str, InputSpec]:
        """Return the packed inputs of a network: name to shape and dtype. A kind without features has no input."""
        specs = {}
        if self.id_features:
            specs["ids"] = InputSpec((len(self.id_columns),), "int32")
        if self.numeric_features:
            specs["numeric"] = InputSpec((len(self.numeric_features),), "float32")
        for sequence in self.sequence_features:
            specs[sequence.input_name] = InputSpec((sequence.max_length,), "int32")
        for vector in self.vector_features:
            specs[vector.input_name] = InputSpec((vector.width,), "float32")
        return specs

    def encode(self, rows: object) -> dict[str, npt.NDArray[Any]]:
        """Return the packed inputs of raw rows, for scoring. Ids not seen in training become 0; no target is needed.

        Args:
            rows: A pandas DataFrame, a `Table`, or a mapping of column name to a list of values.

        Returns:
            Arrays as `input_specs()` says, first dimension the rows, in their order.

        Raises:
            SchemaError: For a missing column or one of the wrong type; before `prepare`.
            DataError: For infinite numbers and vectors of the wrong width.

        Example:
            >>> from tfshop.data.datasets import synthetic
            >>> schema = synthetic(1000, num_id_features=2, num_numeric=0).schema
            >>> schema.encode({"id_0": [0, 123_456], "id_1": [0, 0]})["ids"]  # the most frequent ids are 1
            array([[1, 1],
                   [0, 1]], dtype=int32)
        """
        from tfshop.data.encoding import encode_rows  # noqa: PLC0415  (it imports this file)

        self.require_fitted()
        return encode_rows(self, rows)

    def replace(self, **changes: Any) -> Schema:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    @classmethod
    def infer(
        cls,
        table: Table,
        *,
        target: str | Sequence[str],
        group: str | None = None,
        time: str | None = None,
        exclude: Collection[str] = (),
        ids: Collection[str] = (),
        numeric: Collection[str] = (),
    ) -> Schema:
        """Return a schema proposed from the columns' types and values; `schema.decisions` says why.

        Text becomes ids, and so do integers that have few values, are named like somebody or something (user, item,
        sku, store_id ...), or count through from 0 or 1 with many repeats. Other numbers become numeric features, lists
        of ids sequences, float lists of one width vectors. The time column, constants, dates (as text too) and long
        texts that hardly repeat are left out.

        Args:
            table: A table from `read_table`.
            target: The column of labels, or several.
            group: The column that says whose row it is.
            time: The column that says when it was.
            exclude: Columns to leave out.
            ids: Columns that are ids, whatever they look like.
            numeric: Columns that are numbers, whatever they look like.

        Raises:
            SchemaError: Where a named column is not in the table or named for two things, or no column is left.

        Example:
            >>> import pyarrow as pa
            >>> from tfshop.data import read_table
            >>> table = read_table(pa.table({"item_id": [7, 8, 7], "price": [1.5, 2.0, 1.0], "bought": [0, 1, 0]}))
            >>> for decision in Schema.infer(table, target="bought").decisions:
            ...     print(decision)
            item_id: IdFeature, because it is an integer with 2 values and is named like an id.
            price: NumericFeature, because it is a number: standard scaling.
            bought: left out, because it is the target.
        """
        from tfshop.data.inference import Wishes, infer_schema  # noqa: PLC0415  (it imports this file)

        return infer_schema(table, Wishes(target, group, time, exclude, ids, numeric))

    def to_json(self) -> str:
        """Return the schema as JSON, fitted state included; `from_json` gives an equal one."""
        return schema_json(self)

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """Return the schema that `to_json` wrote.

        Raises:
            SchemaError: For text that is not such JSON.
        """
        return schema_of_json(cls, text)

    def describe(self) -> str:
        """Return the schema as readable text: a line a feature, then the decisions of `infer`."""
        return describe(self)

    def __repr__(self) -> str:
        """Show the same as `describe`."""
        return f"Schema({self.describe()})"


def _one_or_several(target: Any) -> Any:
    """A string for one target, a tuple for several; anything else as it is, to be refused by its own name."""
    several = tuple(target) if isinstance(target, (list, tuple)) else target
    return several[0] if isinstance(several, tuple) and len(several) == 1 else several
