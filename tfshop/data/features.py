"""The four kinds of features a schema is made of, each named after its column."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from tfshop.errors import SchemaError

TRANSFORMS = ("none", "log1p", "standard")


def _require_name(name: object, what: str) -> None:
    """Raise unless `name` is a non-empty string."""
    if not isinstance(name, str) or not name:
        raise SchemaError(f"{what} is {name!r}. Expected the name of a column, a non-empty string. Fix: name it.")


def _require_positive(feature: str, argument: str, value: object) -> None:
    """Raise unless `value` is an integer of at least one."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SchemaError(
            f"feature {feature!r} has {argument}={value!r}. Expected an integer of at least 1. "
            f"Fix: give {argument} a positive integer."
        )


@dataclass(frozen=True)
class IdFeature:
    """A column of ids (text, integers, booleans, dates), looked up in an embedding table.

    Args:
        name: The column.
        table: The table its ids live in; features that name the same table share one vocabulary. Default: its own.
        min_count: Ids seen fewer times in the training rows become 0, "unknown or rare".
        max_size: At most so many ids are kept, the most frequent ones.

    Raises:
        SchemaError: For an empty name or a count below 1.

    Example:
        >>> IdFeature("item_id", min_count=2).table_name
        'item_id'
    """

    name: str
    table: str | None = None
    min_count: int = 1
    max_size: int | None = None
    kind: ClassVar[str] = "id"

    def __post_init__(self) -> None:
        """Check the fields."""
        _require_name(self.name, "the name of an IdFeature")
        if self.table is not None:
            _require_name(self.table, f"the table of feature {self.name!r}")
        _require_positive(self.name, "min_count", self.min_count)
        if self.max_size is not None:
            _require_positive(self.name, "max_size", self.max_size)

    @property
    def table_name(self) -> str:
        """The table its ids live in."""
        return self.table or self.name


@dataclass(frozen=True)
class NumericFeature:
    """A column of numbers; missing values are allowed and reach the network as NaN.

    Args:
        name: The column.
        transform: What the network does to the raw number: "none", "log1p" (sign(x) * log(1 + |x|), then standard
            scaling) or "standard" (minus the training mean, over the training standard deviation).

    Raises:
        SchemaError: For an empty name or an unknown transform.

    Example:
        >>> NumericFeature("price", transform="log1p").transform
        'log1p'
    """

    name: str
    transform: str = "none"
    kind: ClassVar[str] = "numeric"

    def __post_init__(self) -> None:
        """Check the fields."""
        _require_name(self.name, "the name of a NumericFeature")
        if self.transform not in TRANSFORMS:
            raise SchemaError(
                f"feature {self.name!r} has transform={self.transform!r}. Expected one of {TRANSFORMS}. "
                "Fix: choose one of them."
            )


@dataclass(frozen=True)
class SequenceFeature:
    """A column of sequences of ids, oldest first: a list column, or text joined by a separator.

    The most recent `max_length` ids are kept in their order and padded with 0 at the end.

    Args:
        name: The column.
        table: The table the ids live in, usually that of an `IdFeature`.
        max_length: How many ids are kept: the last ones.
        separator: What joins the ids where the column is text.

    Raises:
        SchemaError: For an empty name, table or separator, or a length below 1.

    Example:
        >>> SequenceFeature("viewed", table="item_id").input_name
        'hist_viewed'
    """

    name: str
    table: str
    max_length: int = 20
    separator: str = "|"
    kind: ClassVar[str] = "sequence"

    def __post_init__(self) -> None:
        """Check the fields."""
        _require_name(self.name, "the name of a SequenceFeature")
        _require_name(self.table, f"the table of feature {self.name!r}")
        _require_positive(self.name, "max_length", self.max_length)
        if not isinstance(self.separator, str) or not self.separator:
            raise SchemaError(
                f"feature {self.name!r} has separator={self.separator!r}. Expected text that stands between two ids. "
                "Fix: separator='|', or whatever joins them."
            )

    @property
    def table_name(self) -> str:
        """The table its ids live in."""
        return self.table

    @property
    def input_name(self) -> str:
        """The name of the network's input."""
        return self.name if self.name.startswith("hist_") else f"hist_{self.name}"


@dataclass(frozen=True)
class VectorFeature:
    """A column of number lists of fixed width: precomputed text or image embeddings. A missing list becomes zeros.

    Args:
        name: The column.
        width: How many numbers each list has.
        normalize: Whether the network brings each vector to length 1 before it reads it. Encoders give vectors of
            length 1 or of length 20, and what they say lies in the direction. False where the length says something.

    Raises:
        SchemaError: For an empty name or a width below 1.

    Example:
        >>> VectorFeature("image", width=64).input_name
        'vector_image'
    """

    name: str
    width: int
    normalize: bool = True
    kind: ClassVar[str] = "vector"

    def __post_init__(self) -> None:
        """Check the fields."""
        _require_name(self.name, "the name of a VectorFeature")
        _require_positive(self.name, "width", self.width)

    @property
    def input_name(self) -> str:
        """The name of the network's input."""
        return f"vector_{self.name}"


Feature = IdFeature | NumericFeature | SequenceFeature | VectorFeature

KINDS: dict[str, type[Feature]] = {
    "id": IdFeature,
    "numeric": NumericFeature,
    "sequence": SequenceFeature,
    "vector": VectorFeature,
}


def feature_to_dict(feature: Feature) -> dict[str, Any]:
    """Return the feature as plain data, `feature_from_dict` reads it back."""
    return {"kind": feature.kind, **asdict(feature)}


def feature_from_dict(content: dict[str, Any]) -> Feature:
    """Return the feature that `feature_to_dict` wrote."""
    arguments = {key: value for key, value in content.items() if key != "kind"}
    return KINDS[content["kind"]](**arguments)
