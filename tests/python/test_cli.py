"""The command line: what goes to stdout and to stderr, and the exit codes."""

import json
import os
import pty
import select
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spedge
from spedge import cli
from spedge.recordings import write

VERBS = (
    *("demo", "boards", "build", "flash", "info", "convert", "tokenize"),
    *("run", "stream", "check", "train", "import", "evaluate", "export", "compile"),
)


class Outcome:
    """What a call of the command line printed and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.out)
        assert document["schema"] == 1
        return document

    def sentence(self, code: int) -> str:
        """The one error sentence, nothing else on either stream."""
        assert self.code == code
        assert self.out == ""
        assert self.err.startswith("spedge: error: ")
        assert self.err.count("\n") == 1
        assert "Traceback" not in self.err
        return self.err


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]):
    def run(*arguments: object) -> Outcome:
        code = cli.execute([str(argument) for argument in arguments])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """1000 events in one patch row of a 64x48 sensor, 1 ms apart, with a gap of 1 s in the middle."""
    events = np.zeros(1000, spedge.EVENT_DTYPE)
    events["t"] = np.arange(1000) * 1000 + 7_000_000
    events["t"][500:] += 1_000_000
    events["x"] = np.arange(1000) % 64
    events["p"] = np.arange(1000) % 4 == 0
    path = tmp_path / "some.raw"
    write(path, events, 64, 48)
    return path


# ---------------------------------------------------------------- the program


def test_help_lists_every_verb_and_imports_nothing_heavy() -> None:
    program = (
        "import sys; from spedge import cli; code = cli.execute(['--help'])\n"
        "heavy = {'torch', 'tvm', 'onnx', 'onnxruntime', 'matplotlib', 'platformio'} & set(sys.modules)\n"
        "print('heavy:', heavy, file=sys.stderr); sys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert all(verb in result.stdout for verb in VERBS)
    assert result.stderr == "heavy: set()\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, call) -> None:
    outcome = call(verb, "--help")
    assert outcome.code == 0
    assert f"spedge {verb}" in outcome.out


def test_the_version(call) -> None:
    outcome = call("--version")
    assert (outcome.code, outcome.out) == (0, f"spedge {spedge.__version__}\n")


def test_no_verb_shows_the_help(call) -> None:
    outcome = call()
    assert outcome.code == 2
    assert "tokenize" in outcome.out + outcome.err


@pytest.mark.parametrize(
    "arguments",
    [["fly"], ["boards", "--jsn"], ["info"], ["tokenize", "a.raw", "--patch-size", "big"], ["build", "--board"]],
)
def test_wrong_usage_is_one_sentence_and_code_2(arguments: list[str], call) -> None:
    call(*arguments).sentence(2)


def test_an_unexpected_error_is_short_and_says_how_to_see_more(call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr("spedge.cli.boards.list_boards", broken)
    message = call("boards").sentence(1)
    assert "surprise" in message and "SPEDGE_DEBUG=1" in message
    monkeypatch.setenv("SPEDGE_DEBUG", "1")
    outcome = call("boards")
    assert outcome.code == 1
    assert "Traceback" in outcome.err and "in broken" in outcome.err


def test_an_interruption_is_code_130(call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spedge.cli.boards.list_boards", interrupted)
    assert call("boards").code == 130


def test_a_reader_that_goes_away_is_no_error() -> None:
    program = f"{sys.executable} -m spedge boards --json"
    result = subprocess.run(f"({program}; echo $? >&2) | true", shell=True, capture_output=True, text=True, check=True)
    assert result.stderr.strip() in ("0", "141")


# ---------------------------------------------------------------- boards


def test_boards_as_a_table_and_as_json(call) -> None:
    names = [board["name"] for board in call("boards", "--json").document["boards"]]
    assert names[0] == "sim"
    table = call("boards").out
    assert all(name in table for name in names)


def test_a_board_that_is_missing_something_says_what_to_install(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    boards = {board["name"]: board for board in call("boards", "--json").document["boards"]}
    assert boards["mps2-an500"]["ready"] is False
    assert boards["mps2-an500"]["missing"]["qemu-system-arm"] == ["qemu-system-arm"]
    assert "apt-get install gcc-arm-none-eabi" in call("boards").out


@pytest.mark.parametrize("verb", ["build", "flash", "run", "check"])
def test_an_unknown_board_is_named_first(verb: str, call, tmp_path: Path) -> None:
    arguments = {"run": [tmp_path, "x.raw"], "check": [tmp_path, "x.raw"]}.get(verb, [])
    sentence = call(verb, *arguments, "--board", "mps2-an50").sentence(2)
    assert "no board 'mps2-an50'; did you mean mps2-an500?" in sentence


# ---------------------------------------------------------------- info


def test_info_of_a_recording(call, recording: Path) -> None:
    document = call("info", recording, "--json").document
    expected: dict[str, object] = {
        "format": "RAW EVT2",
        "layout": None,
        "width": 64,
        "height": 48,
        "size_from": "the file",
        "events": 1000,
        "on_events": 250,
        "off_events": 750,
        "first_us": 7_000_000,
        "last_us": 8_999_000,
        "duration_us": 1_999_000,
        "mean_events_per_s": round(1000 / 1.999, 1),
        "peak_events_per_s": 1000.0,
        "longest_gap_us": 1_001_000,
        "triggers": 0,
        "left_out": {},
        "problem": None,
    }
    assert document == {"schema": 1, "path": str(recording), **expected}
    assert "1,000" in call("info", recording).out


def test_info_of_a_damaged_recording_counts_up_to_the_damage(call, recording: Path) -> None:
    good = recording.read_bytes()
    header = good.index(b"% end\n") + 6
    events = 0
    for at in range(header, header + 4 * 600, 4):
        events += good[at + 3] >> 4 in (0, 1)
    bad = header + 4 * 600
    outside = 1 << 28 | (good[bad + 3] << 24 | good[bad + 2] << 16) & 0x0FC00000 | 2047 << 11 | 2047
    recording.write_bytes(good[:bad] + outside.to_bytes(4, "little") + good[bad + 4 :])
    outcome = call("info", recording, "--json")
    assert outcome.code == 4
    assert outcome.document["events"] == events
    assert outcome.document["problem"] in outcome.err
    assert f"byte {bad} holds 0x{outside:08x}" in outcome.err


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.raw", b""), ("b.raw", b"hello"), ("c.txt", b"1 2 3"), ("d.bin", b"123"), ("e.npz", b"PK"), ("f.raw", None)],
)
def test_a_file_that_is_no_recording_is_code_4(name: str, content: bytes | None, call, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert name in call("info", path).sentence(4)
    assert name in call("tokenize", path).sentence(4)


def test_a_folder_that_is_no_bundle_is_code_4(call, tmp_path: Path) -> None:
    for verb in (["info", tmp_path], ["build", tmp_path], ["check", tmp_path, "x.raw"], ["run", tmp_path, "x.raw"]):
        assert "bundle" in call(*verb).sentence(4)


# ---------------------------------------------------------------- tokenize


def test_tokenize_writes_what_the_tokenizer_makes(call, recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "tokens.npz"
    parameters: dict[str, Any] = {
        "patch_size": 32,
        "threshold": 20.5,
        "absolute_refractory_us": 3000,
        "relative_refractory_us": 4000,
        "relative_scale": 0.25,
        "decay_per_us": 1e-5,
    }
    options = [part for name, value in parameters.items() for part in (f"--{name.replace('_', '-')}", value)]
    document = call("tokenize", recording, *options, "--out", out, "--json").document

    tokenizer = spedge.Tokenizer("continuous", width=64, height=48, **parameters)
    tokens = tokenizer.push(spedge.open(recording).events())
    assert len(tokens) > 10
    assert document["tokens"] == len(tokens)
    assert document["events_by_fate"]["refractory"] == tokenizer.stats.refractory > 0
    assert sum(document["events_by_fate"].values()) == document["events"] == 1000
    assert {name: document["parameters"][name] for name in parameters} == parameters
    with np.load(out) as file:
        for name in ("x", "y", "t", "offsets"):
            np.testing.assert_array_equal(file[name], getattr(tokens, name))
        for name in ("t", "x", "y", "p"):
            np.testing.assert_array_equal(file[f"event_{name}"], tokens.events[name])


@pytest.mark.parametrize("duration_us", [7, 1000, 200_000, 10**9])
def test_tokenizing_a_recording_in_pieces_makes_the_same_voxels(
    call, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, duration_us: int
) -> None:
    events = spedge.open(recording).events()
    cuts = [0, 1, 2, 700, 701, len(events)]
    pieces = [events[start:end] for start, end in pairwise(cuts)]
    monkeypatch.setattr("spedge.recordings.base.Recording.__iter__", lambda _: iter(pieces))
    for threshold in (0, 1, 3) if duration_us > 7 else (1,):
        out = tmp_path / "tokens.npz"
        options = ("--kind", "voxel", "--duration-us", duration_us, "--threshold", threshold, "--patch-size", 8)
        document = call("tokenize", recording, *options, "--out", out, "--json").document
        tokenizer = spedge.Tokenizer(
            "voxel", width=64, height=48, patch_size=8, threshold=threshold, duration_us=duration_us
        )
        tokens = tokenizer.push(events)
        assert (document["tokens"], document["events"]) == (len(tokens), len(events))
        ends = (tokens.t[0], tokens.t[-1]) if len(tokens) else (None, None)
        assert (document["first_us"], document["last_us"]) == ends
        with np.load(out) as file:
            for name in ("x", "y", "t", "offsets"):
                np.testing.assert_array_equal(file[name], getattr(tokens, name))
            for name in ("t", "x", "y", "p"):
                np.testing.assert_array_equal(file[f"event_{name}"], tokens.events[name])


def test_tokenize_refuses_wrong_parameters_and_leaves_no_file(call, recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "tokens.npz"
    assert "threshold" in call("tokenize", recording, "--threshold", -1, "--out", out).sentence(2)
    assert ".npz" in call("tokenize", recording, "--out", tmp_path / "tokens.csv").sentence(2)
    assert "width" in call("tokenize", recording, "--width", 64).sentence(2)
    assert "nowhere" in call("tokenize", recording, "--out", tmp_path / "nowhere" / "tokens.npz").sentence(2)
    assert list(tmp_path.glob("tokens*")) == []


# ---------------------------------------------------------------- a terminal


def test_progress_goes_to_stderr_and_data_to_stdout(recording: Path) -> None:
    """With a terminal for stderr only, stdout is still nothing but the document."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "spedge", "info", str(recording), "--json"]
    terminal = {**os.environ, "TERM": "xterm"}  # a dumb one shows no progress
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=slave, text=True, check=True, env=terminal)
        assert select.select([master], [], [], 5)[0], "nothing on the terminal"
        shown = os.read(master, 1 << 16).decode()
    finally:
        os.close(slave)
        os.close(master)
    assert json.loads(result.stdout)["events"] == 1000
    assert "Reading some.raw" in shown


def test_there_is_no_progress_without_a_terminal(call, recording: Path) -> None:
    assert call("info", recording).err == ""
