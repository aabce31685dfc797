"""Ids hashed into rows instead of counted into a vocabulary: the same arithmetic on every device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_C1, _C2, _C3 = 0xCC9E2D51, 0x1B873593, 0xE6546B64
_F1, _F2 = 0x85EBCA6B, 0xC2B2AE35
_MASK = 0xFFFFFFFF
_LONG = 512  # bytes; the few longer texts are hashed one by one

_TAIL_MASKS = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF], np.uint32)  # of the bytes after the last whole word

Words = npt.NDArray[np.uint32]


def murmur3(text: str, seed: int = 0) -> int:
    """Return MurmurHash3 (x86, 32 bits) of a text's UTF-8 bytes: the definition, one text at a time.

    Args:
        text: Any text; its bytes are taken as they are.
        seed: In [0, 2^32).

    Example:
        >>> murmur3("hello", 0)
        613153351

    References:
        Appleby, MurmurHash3, SMHasher, 2011 (public domain).
    """
    data = text.encode("utf-8", "surrogatepass")
    hashed = seed
    whole = len(data) - len(data) % 4
    for start in range(0, whole, 4):
        hashed ^= _scrambled(int.from_bytes(data[start : start + 4], "little"))
        hashed = (_rotated(hashed, 13) * 5 + _C3) & _MASK
    hashed ^= _scrambled(int.from_bytes(data[whole:], "little")) ^ len(data)
    hashed = ((hashed ^ hashed >> 16) * _F1) & _MASK
    hashed = ((hashed ^ hashed >> 13) * _F2) & _MASK
    return hashed ^ hashed >> 16


def _scrambled(word: int) -> int:
    return (_rotated(word * _C1 & _MASK, 15) * _C2) & _MASK


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 32 - bits) & _MASK


def murmur3_array(values: pa.Array, seed: int = 0) -> Words:
    """Return `murmur3` of every text of an Arrow array without missing values, all at once.

    Args:
        values: Text, shape (n,).
        seed: In [0, 2^32).

    Returns:
        uint32, shape (n,).

    Example:
        >>> murmur3_array(pa.array(["hello", ""]), 1).tolist() == [murmur3("hello", 1), murmur3("", 1)]
        True
    """
    text = values.cast(pa.large_string())
    _, offsets, content = text.buffers()
    bounds = np.frombuffer(offsets, np.int64, len(text) + 1, text.offset * 8) if len(text) else np.zeros(1, np.int64)
    starts, lengths = bounds[:-1], np.diff(bounds)
    data = np.frombuffer((content.to_pybytes() if content is not None else b"") + bytes(4), np.uint8)
    words: Words = np.ndarray((len(data) - 3,), np.dtype("<u4"), data, strides=(1,))  # one begins at every byte
    hashed = np.full(len(text), seed, np.uint32)
    short = np.flatnonzero(lengths <= _LONG)
    order = short[np.argsort(-lengths[short], kind="stable")]  # the longest first: those with a k-th word come first
    hashed[order] = _hash_all(words, starts[order], lengths[order], hashed[order])
    for place in np.flatnonzero(lengths > _LONG):
        hashed[place] = murmur3(text[int(place)].as_py(), seed)
    return hashed


def _hash_all(words: Words, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], hashed: Words) -> Words:
    """Hash texts in order of falling length, word by word."""
    blocks = lengths // 4
    for block in range(int(blocks.max(initial=0))):
        active = int(np.searchsorted(-blocks, -block, side="left"))  # those with more blocks than this one's number
        mixed = hashed[:active] ^ _scramble(words[starts[:active] + 4 * block])
        hashed[:active] = _rotate(mixed, 13) * np.uint32(5) + np.uint32(_C3)
    rest = lengths % 4
    tails = words[starts + 4 * blocks] & _TAIL_MASKS[rest]
    hashed ^= _scramble(tails) ^ lengths.astype(np.uint32)
    hashed = (hashed ^ hashed >> np.uint32(16)) * np.uint32(_F1)
    hashed = (hashed ^ hashed >> np.uint32(13)) * np.uint32(_F2)
    finished: Words = hashed ^ hashed >> np.uint32(16)
    return finished


def _scramble(words: Words) -> Words:
    scrambled: Words = _rotate(words * np.uint32(_C1), 15) * np.uint32(_C2)
    return scrambled


def _rotate(words: Words, bits: int) -> Words:
    rotated: Words = words << np.uint32(bits) | words >> np.uint32(32 - bits)
    return rotated


@dataclass(frozen=True)
class HashTable:
    """A table without a vocabulary: row 1 + hash mod buckets, and row 0 for missing and empty ids.

    Args:
        buckets: Rows besides row 0.
        hashes: How many rows an id has; the k-th hash has the seed `seed + k`.
        seed: The first hash's seed.

    Example:
        >>> HashTable(100).ids(["milk", None, ""]).tolist()
        [67, 0, 0]

    References:
        Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009; Svenstrup et al., Hash
        Embeddings for Efficient Word Representations, NeurIPS 2017, for several hashes an id.
    """

    buckets: int
    hashes: int = 1
    seed: int = 0

    @property
    def num_rows(self) -> int:
        """Rows of the table, row 0 included."""
        return self.buckets + 1

    def columns(self, values: Sequence[str | None] | pa.Array) -> npt.NDArray[np.int32]:
        """Return the rows of each value; distinct values are hashed once.

        Args:
            values: Text, shape (n,).

        Returns:
            int32, shape (n, hashes).
        """
        column = values if isinstance(values, pa.Array) else pa.array(list(values), pa.string())
        coded = column.cast(pa.large_string()).dictionary_encode()
        known = coded.dictionary
        rows = np.zeros((len(known) + 1, self.hashes), np.int32)  # the last one is that of missing values
        empty = pc.equal(pc.binary_length(known), 0).to_numpy(zero_copy_only=False)
        for number in range(self.hashes):
            hashed = murmur3_array(known, (self.seed + number) & _MASK)
            rows[:-1, number] = np.where(empty, 0, 1 + hashed % np.uint32(self.buckets))
        places = coded.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
        found: npt.NDArray[np.int32] = rows[places]
        return found

    def ids(self, values: Sequence[str | None] | pa.Array) -> npt.NDArray[np.int32]:
        """Return the first row of each value, shape (n,)."""
        first: npt.NDArray[np.int32] = self.columns(values)[:, 0]
        return first
