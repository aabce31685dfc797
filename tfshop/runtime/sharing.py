"""A builder of flatbuffers that writes what is alike once, wherever it is meant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flatbuffers

MOST_BYTES = 4096  # of a vector that is looked for among those before
OFFSET_BYTES = 4


@dataclass
class _Open:
    """A vector or table that is being written.

    Attributes:
        start: Bytes behind it, padding left out.
        count: Elements of a vector.
        size: Bytes of them.
        alignment: Of them.
        targets: Places in it of offsets, and what they point to, both as bytes behind.
    """

    start: int
    count: int = 0
    size: int = 0
    alignment: int = 0
    targets: list[tuple[int, int]] = field(default_factory=list)


class SharingBuilder(flatbuffers.Builder):
    """As `flatbuffers.Builder`; equal strings, short vectors and tables are one, several times referred to.

    Readers follow offsets and see no difference. Writing into such a file in place changes whatever shares the bytes.

    Args:
        size: Bytes to begin with.

    References:
        FlatBuffers internals: offsets may form a directed acyclic graph, "DAG".
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._open: _Open | None = None
        self._known: dict[Any, int] = {}

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:  # noqa: N802, N803 - as its parent
        """Begin a vector."""
        self._open = _Open(self.Offset(), numElems, elemSize * numElems, alignment)
        return int(super().StartVector(elemSize, numElems, alignment))

    def EndVector(self, numElems: int | None = None) -> int:  # noqa: N802, N803 - as its parent
        """End a vector; one that is there already is referred to."""
        begun, self._open = self._open, None
        made = int(super().EndVector(numElems))
        if begun is None or begun.size > MOST_BYTES:  # of a string, which its parent shares, or of a table's codes
            return made
        targets = tuple(target for _, target in begun.targets)
        content = () if targets else bytes(self.Bytes[self.head + OFFSET_BYTES : self.head + OFFSET_BYTES + begun.size])
        return self._once(("vector", begun.alignment, begun.count, targets, content), made, begun)

    def CreateString(self, s: Any, encoding: str = "utf-8", errors: str = "strict") -> int:  # noqa: N802 - its parent's
        """A string, once."""
        key = ("string", s if isinstance(s, str) else bytes(s), encoding, errors)
        if key not in self._known:
            self._known[key] = int(super().CreateString(s, encoding, errors))
        return self._known[key]

    def StartObject(self, numfields: int) -> None:  # noqa: N802 - as its parent
        """Begin a table, where an offset may stand: the same fields are then always laid out alike."""
        self.Prep(OFFSET_BYTES, 0)
        super().StartObject(numfields)
        self._open = _Open(self.Offset())

    def EndObject(self) -> int:  # noqa: N802 - as its parent
        """End a table; one that is there already is referred to."""
        begun, self._open = self._open, None
        if begun is None:
            raise RuntimeError("a table ends that did not begin")
        body = bytearray(self.Bytes[self.head : len(self.Bytes) - begun.start])
        for place, _ in begun.targets:  # offsets are relative: what they mean stands in for them
            at = self.Offset() - place
            body[at : at + OFFSET_BYTES] = bytes(OFFSET_BYTES)
        targets = tuple((place - begun.start, target) for place, target in begun.targets)
        slots = tuple(slot and slot - begun.start for slot in self.current_vtable)
        return self._once(("table", slots, bytes(body), targets), int(super().EndObject()), begun)

    def PrependUOffsetTRelative(self, off: int) -> None:  # noqa: N802 - as its parent
        """Write an offset."""
        super().PrependUOffsetTRelative(off)
        if self._open is not None:
            self._open.targets.append((self.Offset(), off))

    def _once(self, key: Any, made: int, begun: _Open) -> int:
        """Where this stands: here, or where its like was written, and then these bytes are taken back."""
        found: int = self._known.setdefault(key, made)
        if found != made:
            self.head = len(self.Bytes) - begun.start
        return found
