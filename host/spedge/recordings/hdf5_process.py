"""The helper process of hdf5.py: python -m spedge.recordings.hdf5_process FD, FD being its end of a pipe.

A question is a message of JSON: path, width, height, said (what the caller says of the file), events (from which number
to before which they are asked for), triggers (whether those are; else, without events, the head), folder that the path
is relative to, and patience_s. Answers are messages of a byte and its data: ITEM for the head, the triggers or a chunk,
and last END or one of ERRORS. Who takes longer than patience_s of processor time for one is in a loop, and the timer
ends the process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from spedge.base.errors import InputError, SpedgeError, UsageError

ITEM, END = b"+", b"."
ERRORS: dict[bytes, type[SpedgeError]] = {b"I": InputError, b"U": UsageError}


def _answers(question: dict[str, Any]) -> Iterator[bytes]:
    from spedge.recordings.hdf5_file import Hdf5File
    from spedge.recordings.layout import Said

    try:
        said = Said(**question["said"])
        file = Hdf5File(Path(question["path"]), question["width"], question["height"], said)
        if question["triggers"]:
            yield ITEM + file.triggers().tobytes()
            return
        if question["events"] is None:
            head = {name: getattr(file, name) for name in ("format", "layout", "width", "height", "size_from")}
            yield ITEM + json.dumps(head).encode()
            return
        begin, end = question["events"]
        for chunk in file.chunks_of(begin, end):
            yield ITEM + chunk.tobytes()
    except tuple(ERRORS.values()) as error:
        (kind,) = (kind for kind, error_type in ERRORS.items() if isinstance(error, error_type))
        yield kind + str(error).encode()


def main() -> None:
    pipe: Connection[bytes, bytes] = Connection(int(sys.argv[1]))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process whatever the C library is doing
    while True:
        try:
            question = json.loads(pipe.recv_bytes())
            os.chdir(question["folder"])
            answers = _answers(question)
            answer = ITEM
            while answer.startswith(ITEM):
                signal.setitimer(signal.ITIMER_PROF, question["patience_s"])
                answer = next(answers, END)
                signal.setitimer(signal.ITIMER_PROF, 0)
                pipe.send_bytes(answer)
        except (EOFError, ConnectionError):
            return


if __name__ == "__main__":
    main()
