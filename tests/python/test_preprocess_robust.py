"""Preprocessing that is killed, starved or lied to: finished work is kept, nothing half-written or stale is read."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.base.errors import InputError, UsageError
from spedge.cli import execute
from spedge.training import workers
from spedge.training.data import dvsgesture, gen1, registry
from spedge.training.data.registry import load_chunks, load_dataset
from spedge.training.preprocess import preprocess
from tests.detection_sets import write_driving
from tests.needs import needs
from tests.python.test_preprocess import hash_of, own
from tests.python.test_preprocess_boxes import boxes_at, some

needs("h5py")

RECORDINGS = 12


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GEN1 of a dozen recordings, small, so that kills fall before, between and in them."""
    root = tmp_path_factory.mktemp("raw")
    for seed in range(RECORDINGS):
        part = ("train", "val", "test")[seed % 3]
        write_driving(root / part / f"{seed}_td.dat", some(seed, 500_000, (304, 240)), boxes_at(99_999, 149_999))
    return root


@pytest.fixture(scope="module")
def undisturbed(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("whole") / "store"
    preprocess("gen1", raw, out)
    return contents(out)


def contents(root: Path) -> dict[str, Any]:
    """All that a store's files hold, by their names, and nothing beside them."""
    import h5py

    found: dict[str, Any] = {}
    for path in sorted(root.rglob("*.h5")):
        with h5py.File(path, "r") as file:
            tables = {name: file[name][:].tobytes() for name in file}
            found[path.relative_to(root).as_posix()] = (tables, {key: str(value) for key, value in file.attrs.items()})
    store = load_chunks("gen1", root)
    found["index"] = list(store.entries)
    found["leftovers"] = [path.name for path in root.rglob("*.part")]
    return found


#: Makes writing slow, so that what is to be struck is struck at work.
SLOWLY = """
import time
from spedge.training.data import store

def written(sink, data, write=store.Sink.write):
    time.sleep({})
    return write(sink, data)

store.Sink.write = written
"""


def in_a_process(raw: Path, out: Path, *, slowly: float = 0.0, **options: Any) -> subprocess.Popen[str]:
    """`preprocess` in a process group of its own. slowly: seconds that ten writes to a file take longer."""
    script = f"""
{SLOWLY.format(slowly / 10)}
if __name__ == "__main__":
    from spedge.training.preprocess import preprocess
    print("ready", flush=True)
    preprocess("gen1", {str(raw)!r}, {str(out)!r}, **{options!r})
    print("done", flush=True)
"""
    file = out.with_name("run.py")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script)
    return subprocess.Popen(
        [sys.executable, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_killed_ten_times_it_ends_as_if_undisturbed(raw: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """Each kill after a random part of the recordings; what was finished before it is not made again."""
    random = np.random.default_rng(11)
    out, finished, kills = tmp_path / "store", 0, 0
    while kills < 10:
        process = in_a_process(raw, out, slowly=0.03)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(random.uniform(0.02, 0.25))
        assert process.poll() is None, process.communicate()
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        kills += 1
        with pytest.raises(UsageError, match="not finished"):
            load_chunks("gen1", out)
        there = len(list(out.rglob("*.h5")))
        assert there >= finished
        finished = there
        if finished == RECORDINGS:
            (next(out.rglob("*.h5"))).unlink()
            finished -= 1
    report = preprocess("gen1", raw, out)
    assert report.kept == finished
    assert contents(out) == undisturbed


def test_with_processes_and_one_of_them_killed(raw: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "store"
    process = in_a_process(raw, out, slowly=0.2, jobs=2)
    while not (children := workers_of(process.pid)) or not list(out.rglob("*.part")):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(children[-1], signal.SIGKILL)
    error = process.communicate()[1]
    assert process.returncode == 1
    assert "UsageError: A process was ended from outside, as for want of memory: run it again with fewer" in error
    with pytest.raises(UsageError, match="not finished"):
        load_chunks("gen1", out)
    assert preprocess("gen1", raw, out, jobs=1).recordings == RECORDINGS
    assert contents(out) == undisturbed


def test_an_interrupt_ends_all_processes_and_one_speaks(raw: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """A terminal's Ctrl-C goes to all of them."""
    out = tmp_path / "store"
    process = in_a_process(raw, out, slowly=0.2, jobs=2)
    while len(workers_of(process.pid)) < 2 or not list(out.rglob("*.part")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate()[1]
    assert process.returncode == -signal.SIGINT
    assert error.rstrip().endswith("KeyboardInterrupt")
    assert "SpawnProcess" not in error
    assert "spawn_main" not in error
    assert not list(out.rglob("*.part"))
    finished = len(list(out.rglob("*.h5")))
    assert preprocess("gen1", raw, out).kept == finished < RECORDINGS
    assert contents(out) == undisturbed


def workers_of(pid: int) -> list[int]:
    """Processes that a pool has started, which have the pool's pipe in their command line."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = []
    for child in children:
        with contextlib.suppress(OSError):
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                found.append(int(child))
    return found


def test_two_at_a_time_are_refused(raw: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    process = in_a_process(raw, tmp_path / "store", slowly=0.05)
    while not list((tmp_path / "store").rglob("*.part")):
        assert process.poll() is None
        time.sleep(0.01)
    with pytest.raises(UsageError, match="Another spedge preprocesses to"):
        preprocess("gen1", raw, tmp_path / "store")
    assert process.communicate()[0].endswith("done\n")
    assert contents(tmp_path / "store") == undisturbed


# ---------------------------------------------------------------- on a cluster


@contextlib.contextmanager
def cluster(folder: Path, count: int) -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """A Dask scheduler on the loopback and its workers, each a process; its address."""
    environment = os.environ | {"DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "error"}
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    file = folder / "scheduler.json"
    options: dict[str, Any] = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "env": environment,
        "cwd": folder,
    }
    started = [
        subprocess.Popen(
            [*dask, "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)], **options
        )
    ]
    try:
        while not file.exists() or not file.read_text().strip():
            assert started[0].poll() is None
            time.sleep(0.05)
        address = json.loads(file.read_text())["address"]
        (folder / "slowly.py").write_text(SLOWLY.format(0.01))
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
        worker += ["--preload", str(folder / "slowly.py")]
        for i in range(count):
            local = ["--host", "127.0.0.1", "--no-dashboard", "--local-directory", str(folder / f"worker{i}")]
            started.append(subprocess.Popen([*worker, *local], **options))
        yield address, started[1:]
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.communicate()


def test_a_cluster_makes_the_same_though_a_worker_is_killed(
    raw: Path, undisturbed: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("distributed")
    out = tmp_path / "store"
    with cluster(tmp_path, 2) as (address, processes):
        killed = False

        def kill(progress: Any) -> None:
            nonlocal killed
            if progress.recordings == 3 and not killed:
                while not (halves := list(out.rglob("*.part"))):
                    time.sleep(0.001)
                processes[0].kill()
                killed = bool(halves)

        report = preprocess("gen1", raw, out, scheduler=address, on_progress=kill)
        assert killed
        assert processes[0].wait() == -signal.SIGKILL
        assert report.recordings == report.made + report.kept == RECORDINGS
        assert report.kept <= 3  # a result that was lost with the worker, whose file is there
        assert contents(out) == undisturbed
        given = ["preprocess", "gen1", "--data", str(raw), "--out", str(out), "--scheduler", address]
        assert execute(given) == 0
        assert f"0 made, {RECORDINGS} as they were" in capsys.readouterr().out


def test_a_cluster_that_is_not_there_is_said(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("distributed")
    monkeypatch.setattr(workers, "PATIENCE_S", 0.5)
    given = ["preprocess", "gen1", "--data", str(raw), "--out", str(tmp_path / "out"), "--scheduler"]
    for address in ("tcp://127.0.0.1:1", "nowhere://x"):
        assert execute([*given, address]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"There is no Dask scheduler at {address}" in error
        assert f"start one with 'dask scheduler', and workers with 'dask worker {address}'" in error
    with cluster(tmp_path, 0) as (address, _):
        monkeypatch.setattr(workers, "PATIENCE_S", 2)
        assert execute([*given, address]) == 2
        assert f"The Dask scheduler at {address} has no workers" in capsys.readouterr().err


def test_without_dask_the_extra_is_named(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"--scheduler needs Dask: pip install 'spedge\[cluster\]'"):
        preprocess("gen1", raw, tmp_path / "store", scheduler="tcp://127.0.0.1:1")


# ---------------------------------------------------------------- no room


def test_a_full_disk_is_said_and_what_is_done_is_kept(raw: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """As large as a third of what is needed: a file system of its own where that may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60k", "none", str(disk)], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(UsageError, match=r"\.h5: cannot be written: No space left on device; make room there and"):
            preprocess("gen1", raw, disk / "store")
        finished = len(list((disk / "store").rglob("*.h5")))
        assert 0 < finished < RECORDINGS
        assert not list((disk / "store").rglob("*.part"))
        with pytest.raises(UsageError, match="not finished"):
            load_chunks("gen1", disk / "store")
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert preprocess("gen1", raw, disk / "store").kept == finished
        assert contents(disk / "store") == undisturbed
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_limit_of_the_size_of_files_is_said_alike(raw: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """By the command, whose exit code is that of what cannot be written."""
    given = ["preprocess", "gen1", "--data", str(raw), "--out", str(tmp_path / "store")]
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        f"from spedge.cli import execute\nsys.exit(execute({given!r}))\n"
    )
    ran = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert ".h5: cannot be written: File too large" in ran.stderr
    assert not list((tmp_path / "store").rglob("*.part"))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4000
    assert execute(given) == 0
    assert contents(tmp_path / "store") == undisturbed


def test_a_folder_that_cannot_be_is_said(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot be written to \(Not a directory\): give another --out"):
        preprocess("gen1", raw, tmp_path / "file" / "store")


# ---------------------------------------------------------------- stale


def made(raw: Path, out: Path, **options: Any) -> tuple[int, int]:
    report = preprocess("gen1", raw, out, **options)
    return report.made, report.kept


def test_what_is_stale_is_made_anew(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content, size, labels, settings, code: each by itself."""
    data, out = tmp_path / "raw", tmp_path / "store"
    for name in ("train/0", "val/1", "test/2"):
        write_driving(data / f"{name}_td.dat", some(int(name[-1]), 500_000, (304, 240)), boxes_at(99_999))
    file = data / "train" / "0_td.dat"
    assert made(data, out) == (3, 0)
    assert made(data, out) == (0, 3)
    content, times = bytearray(file.read_bytes()), file.stat()
    content[-1] ^= 0x10  # a polarity; as old and as large as before
    file.write_bytes(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert made(data, out) == (1, 2)
    assert load_chunks("gen1", out).part("train")[0].events(0, 10)["p"][-1] == content[-1] >> 4 & 1
    file.write_bytes(content[:-8])
    assert made(data, out) == (1, 2)
    np.save(data / "train" / "0_bbox.npy", boxes_at(99_999, 149_999))
    assert made(data, out) == (1, 2)
    assert made(data, out, chunk_ms=25) == (3, 0)
    assert made(data, out) == (3, 0)
    monkeypatch.setattr(gen1, "VERSION", gen1.VERSION + 1)
    with pytest.raises(UsageError, match=r"was preprocessed by other code .* run '(.*)', which makes it anew") as told:
        load_chunks("gen1", out)
    assert execute(shlex.split(str(told.value).split("'")[1])[1:]) == 0
    assert made(data, out) == (0, 3)
    load_chunks("gen1", out)
    monkeypatch.setattr(registry, "version_of", lambda name: importlib.metadata.version(name) + ".post1")
    with pytest.raises(UsageError, match="was preprocessed by other code"):
        load_chunks("gen1", out)
    assert made(data, out) == (3, 0)


def test_a_class_that_comes_before_the_others_makes_them_anew(tmp_path: Path) -> None:
    """Labels are numbers of the classes in order."""
    own(tmp_path / "raw", ["cat/1.raw", "dog/1.raw"])
    preprocess("folder", tmp_path / "raw", tmp_path / "store")
    own(tmp_path / "raw", ["ant/1.raw"])
    assert preprocess("folder", tmp_path / "raw", tmp_path / "store").made == 3
    dataset = load_dataset("folder", tmp_path / "store")
    named = {sample.name.split("/")[0]: dataset.labels[sample.label] for sample in dataset.train}
    assert named == {"ant": "ant", "cat": "cat", "dog": "dog"}


def test_one_of_ones_own_recordings_is_damaged(tmp_path: Path) -> None:
    own(tmp_path / "raw", ["cat/1.raw", "cat/2.raw", "dog/1.raw"])
    (tmp_path / "raw/cat/1.raw").write_bytes(b"no recording")
    report = preprocess("folder", tmp_path / "raw", tmp_path / "store")
    assert (report.recordings, len(report.problems)) == (2, 1)
    assert "cat/1.raw" in report.problems[0]
    for file in (tmp_path / "raw").rglob("*.raw"):
        file.write_bytes(b"")
    with pytest.raises(InputError, match=r"1\.raw: the file is empty"):
        preprocess("folder", tmp_path / "raw", tmp_path / "store")


def test_files_of_a_class_and_a_name_that_join_alike_are_two(tmp_path: Path) -> None:
    own(tmp_path / "raw", ["a/b_1.raw", "a_b/1.raw"])
    preprocess("folder", tmp_path / "raw", tmp_path / "store")
    assert [sample.label for sample in load_dataset("folder", tmp_path / "store").train] == [0, 1]


# ---------------------------------------------------------------- damaged


def test_any_flipped_byte_is_found_and_mended(raw: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """Never another answer, wherever it is: in events, tables, or in what HDF5 needs to find them."""
    out = tmp_path / "store"
    preprocess("gen1", raw, out)
    file = out / "train" / "train" / "0.h5"
    whole = file.read_bytes()
    right = [(hash_of(c.events), c.boxes.tolist()) for c in load_chunks("gen1", out).part("train")[0]]
    random = np.random.default_rng(3)
    places = [*range(0, 120, 7), *random.integers(0, len(whole), 120).tolist(), len(whole) - 1]
    told = set()
    for place in places:
        content = bytearray(whole)
        content[place] ^= 1 << int(random.integers(8))
        file.write_bytes(content)
        try:
            read = [(hash_of(c.events), c.boxes.tolist()) for c in load_chunks("gen1", out).part("train")[0]]
        except InputError as error:
            assert f"{file} is damaged" in str(error)
            told.add(str(error).split("'")[-2])
        else:
            assert read == right  # a byte that says nothing
    (command,) = told
    file.write_bytes(content)
    assert execute(shlex.split(command)[1:]) == 0
    assert contents(out) == undisturbed


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.99])
def test_a_file_that_is_cut_or_gone_is_found_and_mended(
    raw: Path, undisturbed: dict[str, Any], tmp_path: Path, kept: float, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "store"
    preprocess("gen1", raw, out)
    file = out / "test" / "test" / "2.h5"
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    if not kept:
        file.unlink()
    with pytest.raises(InputError, match=r"2\.h5 is damaged"):
        [chunk.events for recording in load_chunks("gen1", out).part("test") for chunk in recording]
    assert execute(["preprocess", "gen1", "--data", str(raw), "--out", str(out)]) == 0
    assert f"1 made, {RECORDINGS - 1} as they were" in capsys.readouterr().out
    assert contents(out) == undisturbed


def test_a_flipped_byte_of_the_index_is_found(raw: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "store"
    preprocess("gen1", raw, out)
    index = (out / "index.json").read_text()
    for before, after in (
        ('"events": 600', '"events": 601'),
        ('"train"', '"trein"'),
        ("{", ""),
        ("chunk_us", "chunk_ms"),
    ):
        (out / "index.json").write_text(index.replace(before, after, 1))
        with pytest.raises(InputError, match=r"index\.json is damaged .*: run 'spedge preprocess gen1 --data DIR"):
            load_chunks("gen1", out)
    preprocess("gen1", raw, out)
    assert contents(out) == undisturbed


def test_the_wrong_kind_is_not_read_as_the_other(raw: Path, tmp_path: Path) -> None:
    preprocess("gen1", raw, tmp_path / "store")
    with pytest.raises(UsageError, match="holds the data set 'gen1', and 'dvsgesture' is asked for"):
        load_dataset("dvsgesture", tmp_path / "store")
    assert dvsgesture.VERSION
