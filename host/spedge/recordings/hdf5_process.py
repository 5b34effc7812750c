"""The helper process of hdf5.py: python -m spedge.recordings.hdf5_process FD, FD being its end of a pipe.

A question is a message of JSON: path, width, height, events (whether they are asked for, or the head), folder that the
path is relative to, and patience_s. Answers are messages of a letter and its data, the last is END or an error. Who
takes longer than patience_s of processor time for one is in a loop, and the timer ends the process.
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

from spedge.errors import InputError, UsageError

HEAD, CHUNK, END, INPUT_ERROR, USAGE_ERROR = b"H", b"C", b".", b"I", b"U"


def _answers(question: dict[str, Any]) -> Iterator[bytes]:
    from spedge.recordings.hdf5_file import Hdf5File

    try:
        file = Hdf5File(Path(question["path"]), question["width"], question["height"])
        if not question["events"]:
            yield HEAD + json.dumps({"format": file.format, "width": file.width, "height": file.height}).encode()
            return
        for chunk in file._chunks():
            yield CHUNK + chunk.tobytes()
    except InputError as error:
        yield INPUT_ERROR + str(error).encode()
    except UsageError as error:
        yield USAGE_ERROR + str(error).encode()


def main() -> None:
    pipe: Connection[bytes, bytes] = Connection(int(sys.argv[1]))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process whatever the C library is doing
    while True:
        try:
            question = json.loads(pipe.recv_bytes())
            os.chdir(question["folder"])
            answers = _answers(question)
            last = False
            while not last:
                signal.setitimer(signal.ITIMER_PROF, question["patience_s"])
                answer = next(answers, END)
                signal.setitimer(signal.ITIMER_PROF, 0)
                pipe.send_bytes(answer)
                last = answer[:1] in (END, INPUT_ERROR, USAGE_ERROR)
        except (EOFError, ConnectionError):
            return


if __name__ == "__main__":
    main()
