"""Every entry of the reference's index: by the C library alone (tests/c/golden.c), and that no test leaves one out.

The same in Python is in test_tokenizer.py and test_embedding.py, on boards in tests/emulated/test_golden.py.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from spedge.events.evt2 import encode
from spedge.tokens.settings import KINDS
from tests.needs import needs
from tests.python.test_embedding import VECTORS
from tests.python.test_tokenizer import INDEX, RECORDINGS, STREAMING, VOXELS, golden_events

CONFIGS = [*STREAMING, *VOXELS]
EMBEDDINGS = {f"{name}.embedding" for name in VECTORS}


def test_every_entry_is_covered(shared: Path) -> None:
    index = json.loads((shared / INDEX).read_text())
    entries = {f"{recording}.{config}" for recording in RECORDINGS for config in CONFIGS}
    assert set(index["recordings"]) == set(RECORDINGS)
    assert set(index["configs"]) == set(CONFIGS)
    assert set(index["tokens"]) == entries
    assert set(index["embeddings"]) == EMBEDDINGS
    assert {config["kind"] for config in index["configs"].values()} == set(KINDS)
    streams = {f"{recording}.events" for recording in RECORDINGS} | {"evt3_1280x720.decoded"}  # test_decoders.py
    assert {path.stem for path in (shared / "golden").glob("*.npz")} == entries | EMBEDDINGS | streams


@pytest.fixture(scope="session")
def golden(repository: Path) -> Path:
    needs("cc")
    folder = repository / "tests/c"
    (folder / "build").mkdir(exist_ok=True)
    with (folder / "build/golden.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(["make", "--silent", "-C", folder, "build/golden"], check=True)
    return folder / "build/golden"


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("recording", RECORDINGS)
def test_the_c_library_gives_the_reference_however_the_stream_is_cut(
    shared: Path, golden: Path, recording: str, config: str
) -> None:
    index = json.loads((shared / INDEX).read_text())
    size, c = index["recordings"][recording], index["configs"][config]
    expected = index["tokens"][f"{recording}.{config}"]
    events = golden_events(shared, recording)
    words = encode(events)
    settings = [
        KINDS.index(c["kind"]), size["width"], size["height"], c["patch_size"], c["threshold"],
        c.get("absolute_refractory_us", 0), c.get("relative_refractory_us", 0), c.get("relative_scale", 0),
        c.get("decay_per_us", 0), c.get("duration_us", 0), len(events), len(words) // 4,
    ]  # fmt: skip
    columns = b"".join(np.ascontiguousarray(events[name]).tobytes() for name in "txyp")
    done = subprocess.run(
        [golden, *map(str, settings)], input=columns + words, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    tokens, held = np.frombuffer(done.stdout, "<u8", 2).tolist()
    assert (tokens, held) == (expected["tokens"], expected["events"])
    at = 16
    with np.load(shared / f"golden/{recording}.{config}.npz") as arrays:
        for name, dtype in (("x", "<u2"), ("y", "<u2"), ("t", "<u8"), ("n", "<u4")):
            np.testing.assert_array_equal(np.frombuffer(done.stdout, dtype, tokens, at), arrays[name])
            at += tokens * np.dtype(dtype).itemsize
    assert len(done.stdout) == at + 13 * held
    assert hashlib.sha256(done.stdout[at:]).hexdigest() == expected["events_sha256"]
