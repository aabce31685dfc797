"""Codebooks while they learn: centroids by gradient, and now and then the codes of every row anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.tables.beam import best_sums
from tfshop.tables.kmeans import nearest
from tfshop.tables.tuning import TunedTable

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]


class TunedCodebooks(TunedTable):
    """Rows that are what their codes point at; centroids learn, and rows learn beside them where they would rather be.

    `settle` points each row at what is nearest to where it would be by now.

    Args:
        rows: float32 (num_rows, dimension), where training starts.
        codebooks: All centroids, one below the other.
        codes: uint8 (num_rows, codes) at the beginning.
        pointed_at: What codes (…, codes) of ids point at; takes the centroids and the codes as tensors.
        lengths: What each row is multiplied by, float32 (num_rows, 1); None for nothing.
        chosen: Codes of rows, given the rows as they would be without their lengths and all centroids.
        **kwargs: As any layer.

    References:
        van den Oord et al., Neural Discrete Representation Learning, 2017 (gradients past the choice of a code).
    """

    def __init__(
        self,
        rows: Floats,
        codebooks: Floats,
        codes: Codes,
        *,
        pointed_at: Callable[[Any, Any], Any],
        chosen: Callable[[Floats, Floats], Codes],
        lengths: Floats | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._pointed_at, self._chosen = pointed_at, chosen
        self._lengths = None if lengths is None else tf.constant(lengths)
        self.rows = self.add_weight("rows", rows.shape, initializer=keras.initializers.Constant(rows))
        centroids = keras.initializers.Constant(codebooks)
        self.codebooks = self.add_weight("codebooks", codebooks.shape, initializer=centroids)
        self.codes = self.add_weight("codes", codes.shape, dtype="uint8", initializer="zeros", trainable=False)
        self.codes.assign(codes)

    def looked_up(self, ids: Any) -> Any:
        """What the codes point at; its gradient goes to the centroids and, past them, to the rows."""
        made = self._pointed_at(self.codebooks, tf.gather(self.codes, ids))
        if self._lengths is not None:
            made = made * tf.gather(self._lengths, ids)
        wished = tf.gather(self.rows, ids)
        return made + (wished - tf.stop_gradient(wished))

    def settle(self) -> None:
        """Choose every row's codes anew."""
        rows = self.rows.numpy()
        if self._lengths is not None:
            lengths = self._lengths.numpy()
            rows = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
        self.codes.assign(self._chosen(rows, self.codebooks.numpy()))

    def frozen(self) -> Mapping[str, NDArray[Any]]:
        """Centroids and codes."""
        return {"codebooks": self.codebooks.numpy(), "codes": self.codes.numpy()}


def nearest_pieces(rows: Floats, books: Floats) -> Codes:
    """Codes of rows (n, dimension) cut into pieces, by the nearest centroid of each book (codes, size, width)."""
    width = books.shape[2]
    filled = np.pad(rows, ((0, 0), (0, len(books) * width - rows.shape[1])))
    pieces = [np.ascontiguousarray(filled[:, i * width : (i + 1) * width]) for i in range(len(books))]
    return np.stack([nearest(piece, book) for piece, book in zip(pieces, books, strict=True)], axis=1)


CHOICES: Mapping[str, Callable[[Floats, Floats], Codes]] = {"concatenated": nearest_pieces, "added": best_sums}
