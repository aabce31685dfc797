"""Keep what C++ libraries print about themselves off the terminal."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_STREAMS = (1, 2)
_TURN = threading.RLock()  # the streams belong to the process: two threads at once would lose them


@contextmanager
def quiet() -> Iterator[None]:
    """Send what is written to standard output and error, from C++ too, nowhere; on an error it is shown after all.

    Setting TF_CPP_MIN_LOG_LEVEL works only before Python starts.
    """
    with _TURN:
        yield from _redirected()


def _redirected() -> Iterator[None]:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    saved = [os.dup(stream) for stream in _STREAMS]
    with tempfile.TemporaryFile() as sink:
        for stream in _STREAMS:
            os.dup2(sink.fileno(), stream)
        try:
            yield
        except BaseException:
            _restore(saved)
            sink.seek(0)
            os.write(2, sink.read())
            raise
        else:
            _restore(saved)


def _restore(saved: list[int]) -> None:
    for stream, copy in zip(_STREAMS, saved, strict=True):
        os.dup2(copy, stream)
        os.close(copy)
