"""libFuzzer on the reader of one format, through Atheris: guided by what it covers of the Python and of the C below.

    make -C tests/fuzz long READERS=evt3.raw        # sets up what this needs

It needs spedge built for it (the Makefile's build/asan: sanitizers and libFuzzer's counters in the extension), first
on the path, and Atheris' own run-time of the address sanitizer preloaded. Arguments after the format are libFuzzer's.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import sys
import tempfile
from pathlib import Path

import atheris

from tests.fuzz.readers import mutated, try_reader

with atheris.instrument_imports(include=["spedge"]):
    import spedge.recordings

    # Readers are imported when they are needed: too late for the instrumentation.
    for module in pkgutil.iter_modules(spedge.recordings.__path__, "spedge.recordings."):
        importlib.import_module(module.name)
    from spedge.recordings import hdf5


def mutate(data: bytes, longest: int, seed: int) -> bytes:
    """One of libFuzzer's mutations, or one that files suffer: it sees nothing of h5py and the decompressors."""
    rng = random.Random(seed)
    return mutated(data, rng)[:longest] if rng.random() < 0.5 else atheris.Mutate(data, longest)


def main() -> None:
    format, *options = sys.argv[1:]
    if "build/asan" not in spedge.__file__:
        sys.exit(f"fuzz_reader: {spedge.__file__} has no sanitizers: run it by make -C tests/fuzz")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / format

        def read(data: bytes) -> None:
            path.write_bytes(data)
            try_reader(path)

        hdf5.PATIENCE_S = 2.0  # libhdf5's loops are known: more files in the time
        atheris.Setup([sys.argv[0], *options], read, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
