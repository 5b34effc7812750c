"""What is documented can be imported: names in the docs, their code, and those that users had before modules moved."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import typer

import spedge
from spedge import cli

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    REPOSITORY / "README.md",
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *sorted((REPOSITORY / "host/spedge/assets").rglob("*.md")),
]
#: Public modules and their names. A name may be added here; one that is here stays.
PUBLIC = {
    "spedge": (
        "EVENT_DTYPE CheckFailed Columns Device DeviceError DeviceGone DeviceRefused DeviceTimeout InputError "
        "Recording SpedgeError Tokenizer TokenizerSettings TokenizerStats Tokens UsageError __version__ as_events "
        "decoders embedding evt2 open tokenize_batch"
    ),
    "spedge.cameras": "FORMATS PROTOCOLS Edvs EmulatedCamera heard protocol_of",
    "spedge.compat": (
        "ContinuousBatchTokenizer ContinuousStreamingTokenizer DiscreteBatchTokenizer DiscreteStreamingTokenizer "
        "Result VoxelTokenizer"
    ),
    "spedge.compile": "PRECISIONS TARGETS CompileError CompileReport Target compile_bundle compile_onnx find_target",
    "spedge.continuous": (
        "Expected check_results expected_results result_difference results_difference stream_times window_of"
    ),
    "spedge.decoders": "FORMATS DecodeStats Decoder EdvsDecoder Evt2Decoder Evt3Decoder Evt21Decoder",
    "spedge.device": (
        "Configuration Configured Device Faults Hello LineCounts Loss Result Stats Status Timeouts TokenizerSettings "
        "open_board"
    ),
    "spedge.embedding": "MAX_BUCKETS MAX_PATCH_SIZE embed encoder_input log_time_volume position_embedding",
    "spedge.events": "EVENT_DTYPE Columns as_events concatenate empty_events",
    "spedge.evt2": "MAX_SIDE TIME_RANGE DecodeStats Decoder check_side encode encode_words time_base time_words",
    "spedge.recordings": "CHUNK_EVENTS Recording Writer create formats open write",
    "spedge.sources": "KINDS BoardCamera EdvsCamera RecordingSource SerialSource Source UsbCamera open_source",
    "spedge.training": "EvaluationReport Progress TrainReport evaluate export train",
    "spedge.training.data": "ChunksWithBoxes Dataset Description LabelledEvents Sample TokenVolumes open unseen",
}


def resolve(name: str) -> object:
    """What a dotted name is: a module as far as it goes, then attributes."""
    parts = name.split(".")
    thing: Any = importlib.import_module(parts[0])
    for i, part in enumerate(parts[1:], 2):
        if not hasattr(thing, part):
            if isinstance(thing, type):
                return getattr(thing, part)  # raises AttributeError
            importlib.import_module(".".join(parts[:i]))
        thing = getattr(thing, part)
    return thing


def has_attribute(thing: type, name: str) -> bool:
    """Whether instances have it: of the class, of a dataclass, or set in the code of the class or of one it is of."""
    code = "".join(inspect.getsource(kind) for kind in thing.__mro__ if kind.__module__.startswith("spedge."))
    fields = {field.name for field in dataclasses.fields(thing)} if dataclasses.is_dataclass(thing) else set()
    return hasattr(thing, name) or name in fields or bool(re.search(rf"self\.{name}(: [^=]+)? = ", code))


def spans(page: str) -> list[str]:
    """The dotted names of a page's code spans: `spedge.a.b(...)`."""
    text = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    return [name for span in re.findall(r"`([^`\n]+)`", text) for name in re.findall(r"^\w+(?:\.\w+)+", span)]


def imported(page: str) -> list[str]:
    """The names that a page's Python code imports, and what it takes of the modules that it imports."""
    found = []
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                found += [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Attribute):
                found.append(ast.unparse(node))
    return [name for name in found if re.fullmatch(r"spedge(\.\w+)+", name)]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_names_in_the_docs(page: Path) -> None:
    text = page.read_text()
    for name in [name for name in spans(text) if name.startswith("spedge.")] + imported(text):
        resolve(name)


def test_names_of_classes_in_the_docs() -> None:
    """`Device.raw`, `Stats.imbalance()`: attributes of the public classes."""
    from spedge import device, recordings

    classes = {name: getattr(module, name) for module in (spedge, device, recordings) for name in module.__all__}
    found = 0
    for page in PAGES:
        for name in spans(page.read_text()):
            first, _, rest = name.partition(".")
            if isinstance(thing := classes.get(first), type):
                found += 1
                assert has_attribute(thing, rest.partition(".")[0]), f"{page}: {name}"
    assert found >= 5


MADE = {"build/docs/html"}  #: by a command that the page names


def test_files_in_the_docs() -> None:
    """Paths in code spans are there, seen from the repository or from one of the folders that pages speak of."""
    homes = [
        REPOSITORY / home for home in ("", "firmware", "firmware/app", "host/spedge", "tests", "docs", "firmware/port")
    ]
    found = 0
    for page in PAGES:
        for span in re.findall(r"`([\w./*-]+/[\w.*-]*)`", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)):
            first = span.split("/")[0]
            if not first or not any((home / first).is_dir() for home in homes) or "NAME" in span or span in MADE:
                continue  # of somebody else, or of the reader's
            found += 1
            assert any(any(home.glob(span.rstrip("/"))) for home in homes), f"{page.name}: {span}"
    assert found >= 40


#: Of other programs than ours.
OTHER_OPTIONS = {"--listen", "--specs", "--help", "--version"}


@functools.cache
def program() -> Any:
    """The command line, as typer has it."""
    return typer.main.get_command(cli.app)


def options_of(words: list[str]) -> set[str] | None:
    """The options that a command line's verb takes; None when there is no such verb. words: behind `spedge`."""
    command = program()
    while hasattr(command, "commands"):
        if not words or words[0].startswith("-"):
            break
        if words[0] not in command.commands:
            return None
        command, words = command.commands[words[0]], words[1:]
    own = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    return own | {"--help", "-h"}


def command_lines(text: str) -> list[list[str]]:
    """What a page has users type, in blocks and in code spans: the words behind `spedge`."""
    blocks = [
        line.split("#")[0] for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) for line in block.splitlines()
    ]
    indented = re.findall(r"^    (.*)$", text, re.MULTILINE)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line.strip() for line in (*blocks, *indented, *inline)]
    found = [re.match(r"(?:\$ )?(?:sudo )?(?:\S*/)?spedge (?=[a-z])(.*)", line) for line in lines]
    return [match[1].replace("\\", "").split() for match in found if match]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_commands_and_options_in_the_docs(page: Path) -> None:
    text = page.read_text()
    for words in command_lines(text):
        known = options_of(words)
        assert known is not None, f"there is no {' '.join(words)}"
        given = {re.split(r"[=\]]", word)[0] for word in words if re.match(r"--?[a-z]", word)}
        assert given <= known, " ".join(words)
    verbs = program()
    all_options = {
        o
        for verb in (*verbs.commands, *(f"bench {b}" for b in verbs.commands["bench"].commands))
        for o in options_of(verb.split()) or ()
    }
    for span in re.findall(r"`(--[a-z][a-z-]*)[^`\n]*`", text):
        assert span in all_options | OTHER_OPTIONS, span


def test_commands_that_are_not_there_are_found() -> None:
    text = """Type `spedge nothing` or `sudo spedge udev --write`, then
```sh
.venv/bin/spedge check BUNDLE a.raw --no-such   # a comment --more
```
    spedge bench model BUNDLE --json
"""
    words = command_lines(text)
    assert words == [
        ["check", "BUNDLE", "a.raw", "--no-such"], ["bench", "model", "BUNDLE", "--json"], ["nothing"],
        ["udev", "--write"],
    ]  # fmt: skip
    assert options_of(["nothing"]) is None and options_of(["bench", "nothing"]) is None
    assert "--no-such" not in (options_of(words[0]) or ()) and "--fault" in (options_of(words[0]) or ())
    assert "--json" in (options_of(words[1]) or ()) and "--write" in (options_of(words[3]) or ())


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_stay(module: str) -> None:
    for name in PUBLIC[module].split():
        resolve(f"{module}.{name}")


def test_public_modules_say_what_they_offer() -> None:
    for module in PUBLIC:
        thing = importlib.import_module(module)
        assert set(getattr(thing, "__all__", PUBLIC[module].split())) >= set(PUBLIC[module].split()), module
        for name in getattr(thing, "__all__", ()):
            resolve(f"{module}.{name}")


def in_scripts(code: str) -> list[str]:
    """The names that programs in strings import, as a test starts them with python -c."""
    strings = [
        node.value
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    lines = re.findall(r"from (spedge[\w.]*) import ([\w, ]+)", "\n".join(strings))
    return [f"{module}.{name.split()[0]}" for module, names in lines for name in names.split(",")]


@pytest.mark.parametrize("folder", ["python", "emulated", "bench"])
def test_names_in_the_programs_that_tests_start(folder: str) -> None:
    for path in sorted((REPOSITORY / "tests" / folder).glob("*.py")):
        if path != Path(__file__).resolve():
            for name in in_scripts(path.read_text()):
                resolve(name)


def test_a_name_that_is_not_there_is_found() -> None:
    assert in_scripts('run("from spedge.boards import load_board, x as y\\nimport os")') == [
        "spedge.boards.load_board",
        "spedge.boards.x",
    ]
    page = "`spedge.nothing`, `spedge.open(…)`\n```python\nfrom spedge.device import Gone\nspedge.Device.open(1)\n```\n"
    assert spans(page) == ["spedge.nothing", "spedge.open"]
    assert imported(page) == ["spedge.device.Gone", "spedge.Device.open", "spedge.Device"]
    for name in ("spedge.nothing", "spedge.device.Gone", "spedge.Tokenizer.nothing"):
        with pytest.raises((ImportError, AttributeError)):
            resolve(name)
