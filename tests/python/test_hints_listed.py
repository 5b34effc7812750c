"""Every sentence of the host's package that names a command or an option: what it names exists, and a test follows it.

The sentences are found in the source, so a new one fails here until a test follows it and FOLLOWED says which.
"""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import typer

import spedge
from spedge import cli
from spedge.recordings import Reading
from tests.needs import needs
from tests.recording_files import some_events

#: What a sentence has that tells to do something: an option, a verb, an installation, an argument in Python.
_VERBS = "|".join(map(cli.name_of, cli.VERBS))
NAMES = re.compile(
    r"(?<![\w-])--[a-z][a-z-]*(?![\w={-])|\b(?:pip|apt-get) install\b|\bsudo \w|\b[a-z_]+=(?:True\b|['\"])"
    rf"|\bspedge (?:{_VERBS})\b"
)
MARKUP = re.compile(r'</?[a-z!]|^\s*[a-z]+="[^"]*"( |$)')
#: Calls whose texts are no sentences: what options are, and what is run.
NO_SENTENCES = ("Option", "Argument", "Typer", "add_typer", "run", "Popen", "_call", "require_range")
OPTIONS_OF_RECORDINGS = {"--" + name.replace("_", "-") for name in Reading.__dataclass_fields__}

#: A part of a sentence, and the test that does what the sentence says, or that runs into what it is about.
FOLLOWED = {
    # recordings: in this file
    "(--columns txyp)": "test_a_recordings_sentence_is_followed_to_its_events",
    "(--columns txyp-)": "test_a_recordings_sentence_is_followed_to_its_events",
    "(--time-unit {})": "test_a_recordings_sentence_is_followed_to_its_events",
    "(--time-unit us)": "test_a_recordings_sentence_is_followed_to_its_events",
    "(--stream {})": "test_a_recordings_sentence_is_followed_to_its_events",
    "(--outside drop)": "test_a_recordings_sentence_is_followed_to_its_events",
    "(spedge convert --sort)": "test_a_recordings_sentence_is_followed_to_its_events",
    "--width 240 --height 180": "test_a_recordings_sentence_is_followed_to_its_events",
    "(--width, --height)": "test_a_size_that_is_asked_for_is_given",
    "push with sort=True": "test_unsorted_events_are_sorted_as_told",
    # the command line
    "--threads is for boards that run Linux": "test_threads_are_of_the_boards_that_the_sentences_name",
    "an agent is started with its own --threads": "test_threads_are_of_the_boards_that_the_sentences_name",
    "give microseconds, or zero": "test_options_are_given_as_their_sentences_say",
    "tokens are written as .npz": "test_options_are_given_as_their_sentences_say",
    "give width and height in pixels, for example": "test_bench_tokenizer_on_a_part",
    "two numbers, as in --crop 608,328": "test_run_looks_at_a_part_of_a_larger_sensor",
    "no region of its own: --crop looks at": "test_run_looks_at_a_part_of_a_larger_sensor",
    "or --bin N to take": "test_pixels_of_a_larger_sensor_are_taken_together",
    "--crop {},{}: a corner": "test_where_the_part_is_if_nobody_says",
    "--bin {}: it must be": "test_where_the_part_is_if_nobody_says",
    "or --crop X,Y to look at": "test_run_looks_at_a_part_of_a_larger_sensor",
    "'spedge presets' lists the presets": "test_presets_are_listed_and_told",
    "a RECORDING or --source": "test_run_in_real_time_is_live",
    "add --width and --height": "test_stream_board_writes_what_the_camera_sent",
    "--play is for the source board": "test_stream_board_writes_what_the_camera_sent",
    "--play is for boards": "test_stream_board_writes_what_the_camera_sent",
    "--play is for --source board": "test_no_process_is_left_of_a_host_that_is_killed_at_a_random_moment",
    "leave --camera-format and": "test_what_the_frame_port_does_not_take",
    "leave --play or --camera-port": "test_what_the_frame_port_does_not_take",
    "--every-ms, --every-tokens": "test_the_command_checks_and_runs_it",
    "--measure goes with --report": "test_the_command_adds_it_to_the_report",
    "--by goes with --tune": "test_what_cannot_be_searched_by_cycles_is_refused",
    "and --precision are for bundles": "test_an_onnx_file_takes_no_options_of_bundles",
    "lists the ports": "test_devices_lists_ports_and_what_answers",
    "are listed by 'spedge boards'": "test_boards_as_a_table_and_as_json",
    "see 'spedge boards'": "test_boards_as_a_table_and_as_json",
    "(spedge flash)": "test_build_and_flash_say_what_they_made",
    "'spedge run' and 'spedge check' start this image": "test_check_passes_and_reports_as_promised",
    "run 'spedge check' on it": "test_check_passes_and_reports_as_promised",
    "sudo usermod -aG {}": "test_a_port_without_rights",
    "sudo spedge udev --write": "test_udev_writes_the_file_or_says_that_it_needs_root",
    "give its port, for example --device": "test_a_port_that_is_not_there_is_code_3",
    "configured with raw=True": "test_raw_is_for_sessions_that_asked_for_it",
    "choose another --precision": "told_apart",
    "is evaluated in fp32: leave --precision out": "test_the_verbs",
    "leave --checkpoint out": "test_int8_is_evaluated_beside_fp32",
    "leave --boxes out": "test_from_published_files_to_an_accuracy",
    "or 'spedge check --board host'": "test_what_takes_transformers_only_says_what_takes_all",
    "--board host has no device": "test_options_of_boards_are_refused_and_a_board_needs_a_recording",
    "--board host needs none": "test_options_of_boards_are_refused_and_a_board_needs_a_recording",
    "(spedge export --tokens)": "test_export_with_a_shorter_window",
    "--provider is for --board host": "test_sentences_about_providers_are_followed",
    "--board host computes the bundle's own encoder": "test_sentences_about_providers_are_followed",
    "in the place of onnxruntime": "test_sentences_about_providers_are_followed",
    "'spedge export' wrote": "test_our_own_bundles_are_whole",
    # flashing
    "say which one by --serial": "test_of_several_probes_one_has_to_be_named",
    "or its probe by --serial": "test_of_several_probes_one_has_to_be_named",
    "give its port by --device": "test_a_board_that_does_not_start_is_told_from_one_that_was_not_written",
    "name its port by --device": "test_a_board_that_does_not_start_is_told_from_one_that_was_not_written",
    "give --host user@name": "test_the_machine_has_to_be_named",
    "loginctl enable-linger": "test_what_goes_wrong_is_said",
    "choose another port by --listen": "test_an_agent_that_ends_is_said_to",
    "--listen {} is no address": "test_what_it_would_refuse_is_refused_here",
    "give one by --key FILE, or leave --listen out": "test_with_a_key_it_may_listen_to_others",
    "--listen and --key are for agents": "test_only_agents_listen",
    "record that by 'spedge stream board --camera-port frames": "test_what_it_sends_is_recorded_and_checked",
    "is written as it is: leave the bundle out": "test_an_image_and_a_bundle_are_not_both_written",
    # what is to be installed
    "with a model: spedge run BUNDLE --view": "test_a_camera_is_shown_until_it_ends",
    "--debug keeps nothing, and the page": "test_the_command_refuses_what_means_nothing",
    "--keep and --view are for labelled samples": "test_what_means_nothing_is_refused",
    "written in EVT2: leave --encoding out": "test_what_means_nothing_is_refused",
    "--port 0 takes any": "test_what_cannot_be_shown_is_said",
    "pip install esptool": "test_esptool_writes_and_is_read_back",
    "pip install 'spedge[{}]'": "test_extras_are_brought_by_their_names",
    "pip install {}": "test_extras_are_brought_by_their_names",
    "pip install 'spedge[": "test_an_extra_brings_what_was_missing",
    "pip install hdf5plugin": "test_an_extra_brings_what_was_missing",
    "apt-get install": "test_packages_are_those_of_the_boards_manifests",
}


class Hint(NamedTuple):
    file: str
    line: int
    text: str


def found(source: str, file: str) -> Iterator[Hint]:
    """The sentences of a module that name something; {} stands for what is put in."""
    tree = ast.parse(source)
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):  # documentation
            skipped.add(id(node.value))
        elif isinstance(node, ast.Call) and _name(node.func) in NO_SENTENCES:
            skipped.update(map(id, ast.walk(node)))
        elif isinstance(node, ast.JoinedStr):
            skipped.update(map(id, node.values))
    sentences = [(node, _text(node)) for node in ast.walk(tree) if id(node) not in skipped]
    named = [Hint(file, node.lineno, text) for node, text in sentences if text and _is_hint(text)]  # type: ignore[attr-defined]
    yield from sorted(named)


def _is_hint(text: str) -> bool:
    return " " in text and not text.startswith("#") and not MARKUP.search(text) and NAMES.search(text) is not None


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)  # type: ignore[misc]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@cache
def hints() -> tuple[Hint, ...]:
    root = Path(spedge.__file__).parent
    return tuple(
        hint
        for path in sorted(root.rglob("*.py"))
        if not {"compile", "training", "data"} & set(path.relative_to(root).parts[:1])
        for hint in found(path.read_text(), str(path.relative_to(root)))
    )


def test_sentences_are_found() -> None:
    source = '''
"""Documentation that says --option."""
def f(path, name):
    """As --sort does."""
    subprocess.run(["a", "--reload rules"])
    x: Annotated[int, typer.Option(help="as with --json")]
    if path:
        raise UsageError(f"{path}: say which (--stream {name})")
    hint = "nothing to do"
    return "run 'spedge check' " "on it"
'''
    assert [hint[1:] for hint in found(source, "a.py")] == [
        (8, "{}: say which (--stream {})"),
        (10, "run 'spedge check' on it"),
    ]
    assert len(hints()) > 40


def test_every_sentence_is_followed_by_a_test() -> None:
    unknown = [
        f"{hint.file}:{hint.line}: {hint.text}" for hint in hints() if not any(part in hint.text for part in FOLLOWED)
    ]
    assert not unknown, "write a test that does what this says, and name it in FOLLOWED: " + "\n".join(unknown)
    stale = [part for part in FOLLOWED if not any(part in hint.text for hint in hints())]
    assert not stale


def test_the_tests_that_follow_them_are_there() -> None:
    defined = {
        name
        for path in Path(__file__).parents[1].rglob("test_*.py")
        for name in re.findall(r"^def (\w+)", path.read_text(), re.M)
    }
    assert set(FOLLOWED.values()) <= defined


# ---------------------------------------------------------------- what is named


@cache
def verbs() -> dict[str, set[str]]:
    """The options of each verb, 'bench tokenizer' and the like among them."""
    out: dict[str, set[str]] = {}

    def take(name: str, command: Any) -> None:
        out[name] = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        for child, inner in getattr(command, "commands", {}).items():
            take(f"{name} {child}".strip(), inner)

    take("", typer.main.get_command(cli.app))
    return out


@pytest.mark.parametrize("hint", hints(), ids=lambda hint: f"{hint.file}:{hint.text[:40]}")
def test_what_a_sentence_names_is_there(hint: Hint) -> None:
    """Verbs, and options of the verb that is named, or of the one that says it, or of all that read recordings."""
    named = re.findall(r"\bspedge ([a-z]+)", hint.text)
    assert set(named) & set(verbs()) or not re.search(r"'(?:sudo )?spedge ", hint.text)
    named = [verb for verb in named if verb in verbs()]
    own = re.fullmatch(r"cli/(?:(bench)/)?(\w+)\.py", hint.file)
    readers = [verb for verb, options in verbs().items() if "--outside" in options]
    if not named and own and own[2] not in ("common", "__init__", "board_camera"):
        named = [" ".join(filter(None, own.groups()))]
    elif not named and hint.file.startswith("recordings/"):
        named = readers
    assert len(readers) > 7
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", hint.text):
        if named:
            assert all(option in verbs()[verb] for verb in named), (option, named)
        else:
            assert any(option in options for options in verbs().values()), option
    if hint.file.startswith("recordings/"):
        known = set(inspect.signature(spedge.open).parameters)
        assert set(re.findall(r"\b([a-z_]+)=(?:True\b|['\"{])", hint.text)) & known or "=" not in hint.text


def test_all_verbs_that_read_recordings_take_all_of_their_options() -> None:
    for verb, options in verbs().items():
        if options & (OPTIONS_OF_RECORDINGS - {"--width", "--height"}):
            assert options >= OPTIONS_OF_RECORDINGS, verb


def test_an_extra_brings_what_was_missing(repository: Path) -> None:
    """Behind each sentence stands the library that it is about."""
    extras = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    brought = {name: " ".join(lines) for name, lines in extras.items()}
    told = [hint for hint in hints() if "spedge[{}]" not in hint.text]  # of any extra: test_doctor.py
    named = {hint: re.findall(r"pip install '?(?:spedge\[([\w,]+)\]|(\w+))", hint.text) for hint in told}
    missing = {  # a word of the sentence, or of the file that has it: the distribution
        "TVM": "apache-tvm", "firmware": "platformio", "draws a picture": "matplotlib",
        "pictures and the page": "starlette", "torch": "torch",
        "AEDAT 4": "lz4", "h5py": "h5py", "filter": "hdf5plugin", "rosbags": "rosbags",
        "USB cameras": "neuromorphic-drivers", "8 bits": "onnx", "ONNX file": "onnx",
        "spedge[flash]": "pyocd", "install esptool": "esptool",
    }  # fmt: skip
    seen = 0
    for hint, installs in named.items():
        for extra, package in installs:
            distribution = next(name for word, name in missing.items() if word in hint.text)
            whole = " ".join(brought[name] for name in extra.split(",")) if extra else package
            assert distribution in whole, hint
            seen += 1
    assert seen > 7
    assert "hdf5plugin" in brought["recordings"]
    assert importlib.metadata.version("hdf5plugin")


def test_packages_are_those_of_the_boards_manifests() -> None:
    from spedge.boards.manifest import list_boards

    for board in list_boards():
        for tool in board.requires:
            assert tool.packages, tool
            assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name) for name in tool.packages)


# ---------------------------------------------------------------- followed


SIZE = ["--width", "320", "--height", "240"]
EVENTS = [(t + 10, x, y, p) for t, x, y, p in some_events(300)[:300]]
ROWS = np.array(EVENTS, np.int64)


def followed(path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[list[Any], list[str]]:
    """The events of a file after doing what the sentences say, literally, and what they said to do."""
    target = path.with_suffix(".out.npz")
    said: list[str] = []
    for _ in range(5):
        code = cli.execute(["convert", str(path), str(target), *arguments, *said])
        error = capsys.readouterr().err
        if code == 0:
            return spedge.open(target).events().tolist(), said
        assert code == 4, error
        told = re.search(r"\((?:N-Caltech101: |spedge convert )?(--[^()]+)\)", error)
        assert told is not None, error
        assert not target.exists()
        said += shlex.split(told[1])
    raise AssertionError("there is no end of sentences")


def text(path: Path, rows: Any, form: str = "%d") -> Path:
    np.savetxt(path, rows, form)
    return path


def milliseconds(path: Path) -> tuple[Path, list[Any], list[str]]:
    rows = [f"{i}.{i % 10}00 3 4 1\n" for i in range(40)]
    path.write_text("".join(rows))
    return path, [(i * 1_000_000 + i % 10 * 100_000, 3, 4, 1) for i in range(40)], ["--time-unit", "s"]


def whole_first(path: Path) -> tuple[Path, list[Any], list[str]]:
    events = [(i, i % 7, i * 3 % 5, i % 2) for i in range(5000)]
    path.write_text("".join(f"{t} {x} {y} {p}\n" for t, x, y, p in events) + "70000.4 3 4 1\n")
    return path, [*events, (70_000, 3, 4, 1)], ["--time-unit", "us"]


def which_order(path: Path) -> tuple[Path, list[Any], list[str]]:
    return text(path, [[1, 2, 3, 1], [2, 2, 3, 0]]), [(1, 2, 3, 1), (2, 2, 3, 0)], ["--columns", "txyp"]


def five_columns(path: Path) -> tuple[Path, list[Any], list[str]]:
    return text(path, np.c_[ROWS, np.arange(len(ROWS))]), EVENTS, ["--columns", "txyp-"]


def wrong_names(path: Path) -> tuple[Path, list[Any], list[str]]:
    path.write_text("when,u,v,sense\n" + "".join(",".join(map(str, event)) + "\n" for event in EVENTS))
    return path, EVENTS, ["--columns", "txyp"]


def two_arrays(path: Path) -> tuple[Path, list[Any], list[str]]:
    path = path.with_suffix(".npz")
    arrays: dict[str, Any] = {"left eye": ROWS[:20], "right eye": ROWS}
    np.savez(path, **arrays)
    return path, EVENTS[:20], ["--stream", "left eye"]


def two_groups(path: Path) -> tuple[Path, list[Any], list[str]]:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        for side, count in (("a b/left", 30), ("a b/right", 9)):
            file[f"{side}/events"] = ROWS[:count]
    return path.with_suffix(".h5"), EVENTS[:30], ["--stream", "/a b/left/events"]


def array_of_five(path: Path) -> tuple[Path, list[Any], list[str]]:
    path = path.with_suffix(".npy")
    np.save(path, np.c_[ROWS, np.arange(len(ROWS))])
    return path, EVENTS, ["--columns", "txyp-"]


def outside(path: Path) -> tuple[Path, list[Any], list[str]]:
    rows = ROWS.copy()
    rows[5, 1] = 400
    return text(path, rows), EVENTS[:5] + EVENTS[6:], ["--outside", "drop"]


def unsorted(path: Path) -> tuple[Path, list[Any], list[str]]:
    np.savez(path.with_suffix(".npz"), **dict(zip("txyp", ROWS[::-1].T, strict=True)))
    return path.with_suffix(".npz"), EVENTS, ["--sort"]


MADE = [
    milliseconds, whole_first, which_order, five_columns, wrong_names, two_arrays, two_groups, array_of_five, outside,
    unsorted,
]  # fmt: skip


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.__name__)
def test_a_recordings_sentence_is_followed_to_its_events(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, expected, told = made(tmp_path / "some events.txt")
    events, said = followed(path, SIZE, capsys)
    assert said == told
    if made is unsorted:
        assert [event[0] for event in events] == [event[0] for event in expected]
        assert sorted(events) == sorted(expected)
    else:
        assert events == expected


def test_a_sentence_about_other_sets_in_nmnists_records_is_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.bin").write_bytes(bytes([200, 100, 0x80, 0, 7, 1, 2, 0, 0, 9]))
    events, said = followed(tmp_path / "a.bin", [], capsys)
    assert said == ["--width", "240", "--height", "180"]
    assert events == [(7, 200, 100, 1), (9, 1, 2, 0)]


def test_a_size_that_is_asked_for_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = text(tmp_path / "a.txt", ROWS)
    assert cli.execute(["info", str(path)]) == 4
    assert "pass width and height (--width, --height)" in capsys.readouterr().err
    assert cli.execute(["info", str(path), *SIZE]) == 0
    assert len(spedge.open(path, width=320, height=240).events()) == len(EVENTS)


def test_columns_are_named_as_the_sentence_says(tmp_path: Path) -> None:
    path = text(tmp_path / "a.txt", ROWS)
    with pytest.raises(spedge.UsageError, match=r"name each column by a letter.*as in 'txyp'"):
        spedge.open(path, width=320, height=240, columns="time x y p")
    assert spedge.open(path, width=320, height=240, columns="txyp").events().tolist() == EVENTS


def test_options_are_given_as_their_sentences_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = text(tmp_path / "a.txt", ROWS), str(tmp_path / "b.npz")
    assert cli.execute(["convert", str(path), out, *SIZE, "--shift", "1s"]) == 2
    assert "give microseconds, or zero" in capsys.readouterr().err
    for shift, first in (("5", EVENTS[0][0] + 5), ("zero", 0)):
        assert cli.execute(["convert", str(path), out, *SIZE, "--shift", shift]) == 0
        assert int(spedge.open(out).events()["t"][0]) == first
    assert cli.execute(["tokenize", str(path), *SIZE, "--out", str(tmp_path / "t.csv")]) == 2
    assert "tokens are written as .npz" in capsys.readouterr().err
    assert cli.execute(["tokenize", str(path), *SIZE, "--threshold", "2", "--out", str(tmp_path / "t.npz")]) == 0
    assert len(np.load(tmp_path / "t.npz")["t"]) > 0


def test_an_onnx_file_takes_no_options_of_bundles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs("tvm")
    import onnx

    info = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "relu", info[:1], info[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), tmp_path / "m.onnx")
    given = ["compile", str(tmp_path / "m.onnx"), "--target", "native", "--out", str(tmp_path / "c")]
    assert cli.execute([*given, "--report"]) == 2
    assert "an ONNX file is compiled in fp32" in capsys.readouterr().err
    assert cli.execute(given) == 0
    assert (tmp_path / "c" / "kernels.c").is_file()
