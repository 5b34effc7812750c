"""The blocks of README and docs: each command is typed here as it stands, or a table says who does what it does.

`test_names.py` holds the options of all of them to the program.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import spedge
from spedge.base.paths import assets_dir
from spedge.cli import execute
from tests.needs import needs
from tests.python.test_names import PAGES, REPOSITORY

#: Commands that are not typed here, by a pattern, the first that fits: the test that does the same, or what it takes.
NOT_HERE = {
    r"camera:evk4": "a camera",
    r"v4l2|frames\.bin": "python/test_v4l2.py",
    r"openmv:": "python/test_openmv.py",
    r"/dev/ttyACM0|tcp://10|tcp://jetson|ssh://|scp |^ssh ": "a board or a machine on the network",
    r"--board (disco-f746g|jetson|mps2-\w+|my-board)|--measure": "emulated",
    r"spedge bench": "python/test_bench.py",
    r"\.mp4": "python/test_render.py",
    r"bundle new": "python/test_bundle_new.py",
    r"--every-tokens": "python/test_continuous.py",
    r"--provider (tensorrt|cuda)": "a GPU, and an ONNX Runtime for it",
    r"spedge flash": "flash/test_flash.py",
    r"spedge udev --write": "python/test_ports.py",
    r"spedge devices": "python/test_ports.py",
    r"--install-completion": "python/test_shipped.py",
    r"spedge (build --board my-board|boards$)|^cp ": "python/test_new_board.py",
    r"--view": "python/test_view_live.py",
    r"spedge view": "python/test_view_page.py",
    r"torchrun": "python/test_fit_devices.py",
    r"spedge train": "python/test_cli_training.py",
    r"spedge preprocess": "python/test_preprocess.py",
    r"spedge datasets \w": "python/test_datasets_looked_at.py",
    r"spedge evaluate": "python/test_cli_training.py",
    r"spedge export": "python/test_export.py",
    r"spedge import": "python/test_import.py",
    r"spedge (info|render) .*_(bbox|td)|(check|run) cars|check bundle": "python/test_detection.py",
    r"spedge (check|compile) (mine-)?bundle|\$gesture|^(for|done)": "python/test_labelling.py",
    r"--tune": "python/test_compile_tune.py",
    r"spedge compile .*--precision": "python/test_compile_int8.py",
    r"spedge compile model.onnx": "python/test_onnx_files.py",
    r"spedge compile": "python/test_compile.py",
}
#: Blocks of other languages, by page and first line.
OTHERS: dict[tuple[str, str], str] = {
    ("README.md", "import spedge"): "here",
    ("bundle.md", "{"): "python/test_bundle_new.py",
    ("cameras.md", 'with open_board(load_board("mps2-an500"), build(board, bundle).path) as device:'): "emulated",
    ("link.md", "import spedge"): "here",
    ("link.md", "device.configure(Configuration(numbers_every=10))"): "python/test_detector_device.py",
    ("live.md", "from spedge.device import Configuration, Device"): "here",
    ("training.md", "from torch.utils.data import DataLoader"): "python/test_data_for_torch.py",
    ("training.md", "from spedge.training.data.registry import load_chunks"): "python/test_data_for_torch.py",
    ("start-genx320.md", "flash       654,644 of 1,048,576 bytes, 536,940 of them the model's"): "said",
}


class Block(NamedTuple):
    page: str
    language: str
    text: str


@cache
def blocks() -> tuple[Block, ...]:
    """All, but Sphinx's own directives."""
    fenced = re.compile(r"^```(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    found = []
    for page in PAGES:
        text = page.read_text()
        found += [Block(page.name, language or "sh", code) for language, code in fenced.findall(text)]
        indented = re.findall(r"^    (spedge .*(?:\\\n.*)*)$", fenced.sub("", text), re.MULTILINE)
        found += [Block(page.name, "sh", code) for code in indented]
    return tuple(block for block in found if not block.language.startswith("{"))


def commands_of(text: str) -> list[str]:
    """The commands of a block, one a line, without comments."""
    lines = [re.sub(r"\s+#.*", "", line).strip() for line in text.replace("\\\n", " ").splitlines()]
    return [" ".join(re.sub(r"^(sudo )?(\.venv/bin/)?spedge", r"\1spedge", line).split()) for line in lines if line]


@cache
def all_commands() -> tuple[str, ...]:
    """Each once."""
    return tuple(dict.fromkeys(line for b in blocks() if b.language == "sh" for line in commands_of(b.text)))


def elsewhere(command: str) -> str | None:
    """Who does what a command does; None: it is typed here."""
    return next((where for pattern, where in NOT_HERE.items() if re.search(pattern, command)), None)


TYPED = [line for line in all_commands() if line.startswith("spedge ") and elsewhere(line) is None]
BUILDS = [line for line in TYPED if re.search(r"--board sim|(check|run) runs/nmnist|(check|run) BUNDLE", line)]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what a reader would have: recordings of gestures and of a digit, a run of digits."""
    for name, asset in (("recording", "clap"), ("first", "wave")):
        (tmp_path / f"{name}.raw").symlink_to(assets_dir() / "recordings" / f"{asset}.raw")
    (tmp_path / "recording.bin").write_bytes(bytes([3, 4, 0x80, 0, 9] * 500))
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "nmnist").symlink_to(assets_dir() / "nmnist-pico")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says that is typed; it has to end well, and to write what it names."""
    words = shlex.split(command)[1:]
    Path("BUNDLE").symlink_to(assets_dir() / ("nmnist-pico" if "recording.bin" in words else "gestures-pico"))
    before = set(Path.cwd().iterdir())
    code = execute(words)
    said = capsys.readouterr()
    assert code in ((0, 1) if words[0] == "doctor" else (0,)), f"{command}: {code} {said.err}"
    for option in ("--out", "--html"):
        if option in words:
            assert Path(words[words.index(option) + 1]).stat().st_size > 0, command
    if words[0] in ("render", "convert"):
        assert Path(words[2]).stat().st_size > 0, command
    assert said.out.strip() or set(Path.cwd().iterdir()) > before, command
    return said.out


@pytest.mark.parametrize("command", [line for line in TYPED if line not in BUILDS])
def test_a_command_can_be_typed(command: str, reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "render" in command:
        needs("PIL")
    typed(command, capsys)


@pytest.mark.parametrize("command", BUILDS)
def test_a_command_that_builds_can_be_typed(command: str, reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs("tvm", "platformio", "cc")
    said = typed(command, capsys)
    assert "check" not in command or "recordings passed" in said


def run(code: str, names: dict[str, Any]) -> dict[str, Any]:
    exec(code, names)
    return names


def code_of(page: str, first: str) -> str:
    (block,) = (b for b in blocks() if b.page == page and b.text.startswith(first))
    return block.text


def test_the_code_of_the_readme_runs(reader: Path) -> None:
    """With a recording of a smaller sensor."""
    names = run(code_of("README.md", "import spedge"), {})
    assert len(names["tokens"]) > 50 and names["tokenizer"].stats.taken == len(spedge.open("recording.raw").events())


@pytest.mark.parametrize("page, first", [("link.md", "import spedge"), ("live.md", "from spedge.device import")])
def test_code_on_devices_runs(page: str, first: str, reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the board sim in the place of an emulated one."""
    needs("tvm", "platformio", "cc")
    from spedge.model.bundle import Bundle

    events = spedge.open("wave").events()
    given: dict[str, Any] = {
        "bundle": Bundle.load("gestures-pico"),
        "events": events,
        "camera": np.array_split(events, 20),
    }
    names = run(code_of(page, first).replace('"mps2-an500"', '"sim"', 1), given)
    said = capsys.readouterr().out
    if page == "link.md":
        assert len(names["tokens"]) == 71 and names["logits"].argmax() == given["bundle"].labels.index("wave")
    else:
        assert "every event is accounted for" in said


def test_every_command_is_typed_or_somebody_does_it() -> None:
    tests = REPOSITORY / "tests"
    for pattern, where in NOT_HERE.items():
        assert any(re.search(pattern, line) for line in all_commands()), f"nothing is like {pattern}: take it out"
        assert (tests / where).exists() if "/" in where else where == "emulated" or where.startswith("a "), where
    targets = set(re.search(r"\.PHONY: (.*)", (REPOSITORY / "Makefile").read_text())[1].split())  # type: ignore[index]
    for line in all_commands():
        if line.startswith("make "):
            assert line.split()[1] in targets, line
        elif line.startswith("pip install"):
            assert extras_of(line) <= extras(), line
        else:
            known = line.startswith("spedge ") or "venv" in line or elsewhere(line)
            assert known, f"{line}: type it here, or say in NOT_HERE who does"
    assert len(TYPED) >= 25 and len(BUILDS) >= 4


def extras_of(line: str) -> set[str]:
    return set(re.findall(r"\w+", "".join(re.findall(r"\[(.*?)\]", line))))


def extras() -> set[str]:
    return set(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def test_every_other_block_is_run_or_somebody_does_it() -> None:
    found = {(b.page, b.text.split("\n")[0]) for b in blocks() if b.language != "sh" and b.page != "new-board.md"}
    assert found == set(OTHERS), "type it here, or say in OTHERS who does"
    for where in OTHERS.values():
        assert where in ("here", "emulated", "said") or (REPOSITORY / "tests" / where).is_file(), where
    json.loads(code_of("bundle.md", "{"))


def test_figures_of_an_image_are_those_that_are_recorded() -> None:
    """What docs/start-genx320.md says of an image is within 5 % of its recorded budget."""
    budgets = json.loads((REPOSITORY / "tests" / "emulated" / "budgets.json").read_text())
    recorded = budgets["images"]["disco-f746g"]["gestures-320"]
    numbers = [int(n.replace(",", "")) for n in re.findall(r"[\d,]{4,}", code_of("start-genx320.md", "flash  "))]
    flash, _, _, ram, _, arena, stack = numbers
    for said, name in ((flash, "flash"), (ram, "ram"), (arena, "arena"), (stack, "stack")):
        assert abs(said / recorded[f"{name}_bytes"] - 1) < 0.05, f"{name}: {recorded}"


def test_commands_are_found() -> None:
    text = "spedge a b \\\n  --c   # d\nsudo .venv/bin/spedge e\n\n.venv/bin/spedge f\n"
    assert commands_of(text) == ["spedge a b --c", "sudo spedge e", "spedge f"]
    assert elsewhere("spedge view camera:evk4") == "a camera" and elsewhere("spedge nothing") is None
    assert extras_of("pip install '.[view,compile]'") == {"view", "compile"}
