"""The codec next to another one: the same with more bits a number, or with fewer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from tfshop.tables.codebooks import CodebookCodec
from tfshop.tables.codec import Codec
from tfshop.tables.float_table import Float16, Float32
from tfshop.tables.integer_table import Int1, Int2, Int4, Int8, IntegerCodec
from tfshop.tables.rowwise import BITS, RowwiseLookup

FINER: Mapping[int, type[IntegerCodec]] = MappingProxyType({1: Int2, 2: Int4, 3: Int4, 4: Int8})  # by bits a number
COARSER: Mapping[int, type[IntegerCodec]] = MappingProxyType({8: Int4, 4: Int2, 3: Int2, 2: Int1})
MOST_CODES = 16  # bytes a row that points into codebooks


def more_bits(codec: Codec) -> Codec | None:
    """The same codec with about twice the bits a number, or with codecs inside that have; None where there is none.

    Example:
        >>> more_bits(Int2("field")), more_bits(Int8())
        (Int4(scale='field', choice='weighted', grid=None), None)
    """
    made: Codec | None = _changed(codec, _finer)
    return made


def fewer_bits(codec: Codec, least: int = 1) -> Codec | None:
    """The same codec with about half the bits a number, or with codecs inside that have; None where there is none.

    Args:
        codec: Any.
        least: Fewest bits of integers: one wants training.

    Example:
        >>> fewer_bits(Int8("field")), fewer_bits(Int2(), least=2)
        (Int4(scale='field', choice='weighted', grid=None), None)
    """

    def coarser(own: Any) -> Any:
        made = _coarser(own)
        return None if isinstance(made, IntegerCodec) and made.bits < least else made

    made: Codec | None = _changed(codec, coarser)
    return made


def _changed(codec: Any, change: Callable[[Any], Any]) -> Any:
    """A codec after a change of its own, or of those inside; None where nothing changes."""
    if hasattr(codec, "codecs"):
        made = tuple(_changed(own, change) or own for own in codec.codecs)
        return replace(codec, codecs=made) if made != codec.codecs else None
    if hasattr(codec, "codec"):
        inner = _changed(codec.codec, change)
        return None if inner is None else replace(codec, codec=inner)
    return change(codec)


def _finer(codec: Any) -> Any:
    if isinstance(codec, IntegerCodec) and codec.bits in FINER:
        return FINER[codec.bits](codec.scale, codec.choice)
    if isinstance(codec, RowwiseLookup) and codec.bits * 2 in BITS:
        return replace(codec, bits=codec.bits * 2)
    if isinstance(codec, CodebookCodec) and codec.codes * 2 <= MOST_CODES:
        return replace(codec, codes=codec.codes * 2)
    return None


def _coarser(codec: Any) -> Any:
    if isinstance(codec, Float32 | Float16):
        return Int8()
    if isinstance(codec, IntegerCodec) and codec.bits in COARSER:
        return COARSER[codec.bits](codec.scale, codec.choice)
    if isinstance(codec, RowwiseLookup) and codec.bits // 2 in BITS:
        return replace(codec, bits=codec.bits // 2)
    if isinstance(codec, CodebookCodec) and codec.codes > 1:
        return replace(codec, codes=codec.codes // 2)
    return None
