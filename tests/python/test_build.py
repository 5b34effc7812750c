"""Building firmware through PlatformIO: cached, outside the sources, and clear when it fails."""

import configparser
import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from spedge.base.errors import UsageError
from spedge.base.paths import boards_dir, firmware_dir
from spedge.boards import build as builder
from spedge.boards.build import BuildError, build, image_size, upload
from spedge.boards.manifest import board_names, load_board

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("platformio") is None or shutil.which("cc") is None, reason="needs platformio and cc"
)

SAYS = '#include <stdio.h>\nint main(void) { printf("%s %s %d", SP_BOARD_NAME, TEXT, SP_HAS_MODEL); return 0; }\n'


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A firmware tree with our platform and project file, and one small program."""
    monkeypatch.setenv("SPEDGE_CACHE", str(tmp_path / "cache"))
    firmware, boards = tmp_path / "tree" / "firmware", tmp_path / "tree" / "boards"
    shutil.copytree(boards_dir(), boards, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("lib/src", "lib/include", "runtime/include", "app", "port/posix"):
        (firmware / folder).mkdir(parents=True)
    for name in ("platformio.ini", "sources.py"):
        shutil.copy(firmware_dir() / name, firmware)
    (firmware / "app" / "text.h").write_text('#define TEXT "first"\n')
    (firmware / "port" / "posix" / "main.c").write_text('#include "text.h"\n' + SAYS)
    monkeypatch.setattr(builder, "firmware_dir", lambda: firmware)
    monkeypatch.setattr(builder, "boards_dir", lambda: boards)
    return firmware


def output(path: Path) -> str:
    return subprocess.run([path], capture_output=True, text=True, check=True).stdout


def test_the_image_runs_and_a_change_of_a_header_is_built(tiny: Path) -> None:
    board = load_board("sim")
    said: list[str] = []
    firmware = build(board, None, said.append)
    assert output(firmware.path) == "sim first 0"
    assert firmware.model_hash is None
    assert any("main" in text for text in said)

    (tiny / "app" / "text.h").write_text('#define TEXT "second"\n')
    assert output(build(board, None).path) == "sim second 0"


def test_a_new_board_is_a_manifest_and_a_folder_of_its_name(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boards = tiny.parent / "boards"
    monkeypatch.setattr("spedge.boards.manifest.boards_dir", lambda: boards)
    own = json.loads((boards / "sim.json").read_text())
    own["build"]["extra_flags"] = "-DMINE=7"
    (boards / "mine.json").write_text(json.dumps(own))
    (boards / "mine").mkdir()
    (boards / "mine" / "board.h").write_text('#include "family.h"\n#define TEXT FAMILY "-" NAME(MINE)\n')
    (tiny / "port" / "posix" / "family.h").write_text(
        '#define NAME_(x) #x\n#define NAME(x) NAME_(x)\n#define FAMILY "a"\n'
    )
    (tiny / "port" / "posix" / "main.c").write_text('#include "board.h"\n' + SAYS)
    with (tiny / "platformio.ini").open("a") as project:
        project.write("[env:mine]\nboard = mine\n")
    assert output(build(load_board("mine"), None).path) == "mine a-7 0"


def test_flags_of_a_board_are_in_its_manifest_alone(repository: Path) -> None:
    project = configparser.ConfigParser(interpolation=None)
    project.read(repository / "firmware/platformio.ini")
    environments = {name: dict(project[name]) for name in project.sections() if name.startswith("env:")}
    assert environments == {f"env:{name}": {"board": name} for name in board_names()}


def test_an_unchanged_build_does_not_start_platformio(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = load_board("sim")
    first = build(board, None)

    def never(*_: object) -> None:
        raise AssertionError("PlatformIO was started")

    monkeypatch.setattr(builder, "_platformio", never)
    assert build(board, None) == first


def test_nothing_is_written_beside_the_sources(tiny: Path) -> None:
    def files() -> set[Path]:
        return set(tiny.parent.rglob("*"))

    before = files()
    build(load_board("sim"), None)
    assert files() == before


def test_a_compiler_error_is_one_sentence_that_names_the_log(tiny: Path) -> None:
    (tiny / "port" / "posix" / "main.c").write_text("int main(void) { return nothing; }\n")
    with pytest.raises(BuildError) as caught:
        build(load_board("sim"), None)
    message = str(caught.value)
    assert "main.c:1" in message and "nothing" in message
    log = Path(message.rpartition("log: ")[2].rstrip(")"))
    assert "nothing" in log.read_text()
    assert caught.value.exit_code == 3

    (tiny / "port" / "posix" / "main.c").write_text("int main(void) { return 0; }\n")
    assert build(load_board("sim"), None).path.is_file()


def test_a_missing_compiler_is_named_with_its_packages(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BuildError, match="apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"):
        build(load_board("mps2-an500"), None)


def test_a_missing_extra_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "platformio" else find(name))
    with pytest.raises(UsageError, match=r"spedge\[firmware\]"):
        build(load_board("sim"), None)


def test_a_compiled_model_is_linked_in(tiny: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.c").write_text("int model_answer(void) { return 42; }\n")
    (model / "model.h").write_text("int model_answer(void);\n")
    (tiny / "port" / "posix" / "main.c").write_text(
        '#include "model.h"\n#include <stdio.h>\n'
        'int main(void) { printf("%d %d", SP_HAS_MODEL, model_answer()); return 0; }\n'
    )
    folder = tmp_path / "build"
    folder.mkdir()
    builder._platformio(load_board("sim"), folder, model, folder / "log", print)
    assert output(folder / "pio" / "sim" / "firmware") == "1 42"


def test_only_a_board_on_a_cable_can_be_written_to(tiny: Path) -> None:
    with pytest.raises(UsageError, match="runs on this machine"):
        upload(load_board("sim"), None)


@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="needs arm-none-eabi-gcc")
def test_sizes_are_those_of_the_sections(tmp_path: Path) -> None:
    source = tmp_path / "a.c"
    source.write_text(
        "const char constant[1000] = {1}; char initial[300] = {1}; char zero[5000];\n"
        "void _start(void) { for (;;) { *(volatile char *)zero = constant[initial[0]]; } }\n"
    )
    image = tmp_path / "a.elf"
    subprocess.run(["arm-none-eabi-gcc", "-mthumb", "-nostdlib", "-o", image, source], check=True)
    flash, ram = image_size(image)
    assert 1300 < flash < 1450
    assert 5300 <= ram < 5400
