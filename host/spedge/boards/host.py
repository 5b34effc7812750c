"""The board `host`: the device application in a process of this machine, whose encoder ONNX Runtime computes.

The same C as on boards decodes, tokenizes, embeds and speaks the link; no compiler is needed. As a module it is that
process: `python -m spedge.boards.host BUNDLE THREADS PROVIDER...`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError, SpedgeError
from spedge.boards.manifest import Board, Process
from spedge.model.bundle import Bundle
from spedge.model.parts import Classification, TokenInput, Transformer
from spedge.model.providers import provider_names, provider_session

HOST = "host"  #: in the place of a board's name
IMAGE = Path(sys.executable)  #: what is started
_START_SECONDS = 600.0  # TensorRT builds its engine first


def host_board(bundle: Bundle, providers: str = "cpu", threads: int | None = None) -> Board:
    """The board as `open_board` takes it, with IMAGE. providers: of ONNX Runtime, a list with commas;
    threads: of it, as many as it takes by itself where not given.

    Raises UsageError for a provider that is not there, InputError for a model that the application does not run.
    """
    _require(bundle)
    names = provider_names(providers)
    return Board(
        name=HOST,
        title="This machine",
        description="The embedded application as a process, its encoder computed by ONNX Runtime",
        core=HOST,
        target="native",
        port="posix",
        runs="process",
        flash_bytes=0,
        ram_bytes=0,
        cost_unit="ns",
        silicon=True,
        manifest=Path(__file__),
        process=Process(
            ("-m", "spedge.boards.host", str(bundle.path.resolve()), str(threads or 0), *names),
            start_seconds=_START_SECONDS,
        ),
    )


def _require(bundle: Bundle) -> TokenInput:
    _, seen, _ = bundle.parts("the board host", Classification, TokenInput, Transformer)
    if seen.tokenizer.kind != "continuous" or seen.origin != "window":
        raise InputError(
            f"the board host takes models of the continuous tokenizer whose times count from their window's first "
            f"token, and the model {bundle.name!r} is of the {seen.tokenizer.kind} one, with times from {seen.origin}"
        )
    return seen


def encoder(
    bundle: Bundle, providers: Sequence[str], threads: int = 0
) -> Callable[[NDArray[np.float32], int, NDArray[np.float32]], None]:
    """run(rows, count, numbers): encoder.onnx on float32 [T, hidden], of which `count` are tokens and the others zero.

    numbers: float32, gets all outputs one behind the other. Has run once when this returns.
    """
    session = provider_session(bundle.file("encoder.onnx"), providers, threads)
    names = [output.name for output in bundle.outputs]
    takes = {given.name for given in session.get_inputs()}

    def run(rows: NDArray[np.float32], count: int, numbers: NDArray[np.float32]) -> None:
        feeds: Mapping[str, NDArray[Any]] = {"tokens": rows[None], "length": np.array([count], np.int32)}
        given = session.run(names, {name: array for name, array in feeds.items() if name in takes})
        np.concatenate([np.ravel(tensor) for tensor in given], out=numbers)

    size = sum(output.size for output in bundle.outputs)
    run(np.zeros((bundle.tokens, bundle.token_input.features), np.float32), 0, np.empty(size, np.float32))
    return run


def serve(bundle: Bundle, providers: Sequence[str], threads: int = 0) -> None:
    """Be that board, until the process is ended."""
    from spedge import _application

    seen = _require(bundle)
    run = encoder(bundle, providers, threads)
    weight, bias = bundle.embedding_arrays()
    assert isinstance(bundle.model, Transformer)
    _application.serve(
        bundle.hash_bytes,
        bundle.model_name("fp32").encode(),
        (bundle.sensor.width, bundle.sensor.height, seen.tokenizer),
        seen.embedding.time_scale_us,
        seen.embedding.buckets,
        np.ascontiguousarray(weight.T),
        np.ascontiguousarray(bias),
        bundle.tokens,
        [(output.name.encode(), output.shape) for output in bundle.outputs],
        bundle.model.attention == "causal",
        run,
    )


def main() -> None:
    path, threads, *providers = sys.argv[1:]
    try:
        serve(Bundle.load(path), providers, int(threads))
    except SpedgeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
