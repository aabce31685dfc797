"""The four kinds of features a schema is made of, each named after its column."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from tfshop.errors import SchemaError

MOST_BUCKETS = 2**31 - 2  # ids are int32, and row 0 is taken
LARGEST_SEED = 2**32 - 1
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


def _quantiles(feature: str, clip: object) -> tuple[float, float]:
    """Return two quantiles, or raise."""
    if isinstance(clip, (tuple, list)) and len(clip) == 2:  # noqa: PLR2004  (a pair)
        low, high = clip
        if all(isinstance(q, (int, float)) and not isinstance(q, bool) for q in clip) and 0 <= low < high <= 1:
            return float(low), float(high)
    raise SchemaError(
        f"feature {feature!r} has clip={clip!r}. Expected two quantiles, 0 <= low < high <= 1. "
        "Fix: clip=(0.001, 0.999)."
    )


def _require_hashing(feature: IdFeature) -> None:
    """Raise unless the fields that say how an id is hashed fit together."""
    if feature.hash_buckets is None:
        if (feature.hashes, feature.hash_seed) != (1, 0):
            raise SchemaError(
                f"feature {feature.name!r} has hashes={feature.hashes} and hash_seed={feature.hash_seed}, but no "
                "hash_buckets. Expected them with hash_buckets only. Fix: hash_buckets=100_000, or leave them out."
            )
        return
    _require_positive(feature.name, "hash_buckets", feature.hash_buckets)
    seeds = LARGEST_SEED + 1 - feature.hashes
    is_seed = isinstance(feature.hash_seed, int) and not isinstance(feature.hash_seed, bool)
    if feature.hash_buckets > MOST_BUCKETS or not is_seed or not 0 <= feature.hash_seed <= seeds:
        raise SchemaError(
            f"feature {feature.name!r} has hash_buckets={feature.hash_buckets!r} and hash_seed={feature.hash_seed!r}. "
            f"Expected at most {MOST_BUCKETS:,} buckets and a seed from 0 to {seeds}. Fix: choose smaller ones."
        )
    if feature.min_count != 1 or feature.max_size is not None:
        raise SchemaError(
            f"feature {feature.name!r} has hash_buckets={feature.hash_buckets} together with min_count="
            f"{feature.min_count} and max_size={feature.max_size}. Expected either a hash or a vocabulary, which alone "
            "can count ids. Fix: leave out hash_buckets, or min_count and max_size."
        )


@dataclass(frozen=True)
class IdFeature:
    """A column of ids (text, integers, booleans, dates), looked up in an embedding table.

    Args:
        name: The column.
        table: The table its ids live in; features that name the same table share one vocabulary. Default: its own.
        min_count: Ids seen fewer times in the training rows become 0, "unknown or rare".
        max_size: At most so many ids are kept, the most frequent ones.
        hash_buckets: Instead of a vocabulary: a hash of the id's text picks one of so many rows; see docs/hashing.md.
        hashes: With hash_buckets: an id has so many rows, by hashes of different seeds, and they are added up. Two ids
            then rarely share all of them. Each takes a column of the input `ids`.
        hash_seed: With hash_buckets: the first hash's seed, in [0, 2^32 - hashes].

    Raises:
        SchemaError: For an empty name, a count below 1, and hash_buckets together with min_count or max_size.

    Example:
        >>> IdFeature("item_id", min_count=2).table_name
        'item_id'
        >>> IdFeature("query", hash_buckets=100_000, hashes=2).is_hashed
        True
    """

    name: str
    table: str | None = None
    min_count: int = 1
    max_size: int | None = None
    hash_buckets: int | None = None
    hashes: int = 1
    hash_seed: int = 0
    kind: ClassVar[str] = "id"

    def __post_init__(self) -> None:
        """Check the fields."""
        _require_name(self.name, "the name of an IdFeature")
        if self.table is not None:
            _require_name(self.table, f"the table of feature {self.name!r}")
        _require_positive(self.name, "min_count", self.min_count)
        if self.max_size is not None:
            _require_positive(self.name, "max_size", self.max_size)
        _require_positive(self.name, "hashes", self.hashes)
        _require_hashing(self)

    @property
    def is_hashed(self) -> bool:
        """Whether its rows are hashed rather than looked up in a vocabulary."""
        return self.hash_buckets is not None

    @property
    def table_rule(self) -> tuple[Any, ...]:
        """How its table is built: features of one table have the same."""
        return (self.min_count, self.max_size, self.hash_buckets, self.hashes, self.hash_seed)

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
        clip: Two quantiles of the training rows' values, such as (0.001, 0.999): what lies outside is moved to them,
            inside the network, before the transform. None leaves outliers as they are.

    Raises:
        SchemaError: For an empty name, an unknown transform, or quantiles out of order.

    Example:
        >>> NumericFeature("price", transform="log1p").transform
        'log1p'
    """

    name: str
    transform: str = "none"
    clip: tuple[float, float] | None = None
    kind: ClassVar[str] = "numeric"

    def __post_init__(self) -> None:
        """Check the fields."""
        _require_name(self.name, "the name of a NumericFeature")
        if self.transform not in TRANSFORMS:
            raise SchemaError(
                f"feature {self.name!r} has transform={self.transform!r}. Expected one of {TRANSFORMS}. "
                "Fix: choose one of them."
            )
        if self.clip is not None:
            object.__setattr__(self, "clip", _quantiles(self.name, self.clip))


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
