"""Building firmware through PlatformIO: cached, outside the sources, and clear when it fails."""

import configparser
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spedge.base.errors import UsageError
from spedge.base.paths import boards_dir, firmware_dir
from spedge.boards import build as builder
from spedge.boards import platformio
from spedge.boards.build import build, image_size
from spedge.boards.manifest import board_names, load_board
from spedge.boards.platformio import BuildError, Workspace, run, workspace
from tests.needs import needs


@pytest.fixture(autouse=True)
def builds() -> None:
    """For each test, not for the file: others use what is in it."""
    needs("platformio", "cc")


SAYS = """
#include <stdio.h>
#include "text.h"
int model_answer(void);
int main(void) { printf("%s %s %d", SP_BOARD_NAME, TEXT, model_answer()); return 0; }
"""


#: Of a folder: each of these broke a build, in PlatformIO, SCons, a shell or a compiler's driver.
ODD = """é ü t'o"w $HOME & (a;b) #c [x] 100%,=*"""


def tree(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A firmware tree with our platform and project file, and one small program; builds are of it."""
    monkeypatch.setenv("SPEDGE_CACHE", str(folder / "cache"))
    firmware, boards = folder / "tree" / "firmware", folder / "tree" / "boards"
    shutil.copytree(boards_dir(), boards, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("lib/src", "lib/include", "runtime/include", "app", "port/posix"):
        (firmware / name).mkdir(parents=True)
    for name in ("platformio.ini", "sources.py"):
        shutil.copy(firmware_dir() / name, firmware)
    (firmware / "app" / "text.h").write_text('#define TEXT "first"\n')
    (firmware / "app" / "no_model.c").write_text("int model_answer(void);\nint model_answer(void) { return 0; }\n")
    (firmware / "port" / "posix" / "main.c").write_text(SAYS)
    monkeypatch.setattr(builder, "firmware_dir", lambda: firmware)
    monkeypatch.setattr(builder, "boards_dir", lambda: boards)
    return firmware


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return tree(tmp_path, monkeypatch)


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
    (tiny / "port" / "posix" / "main.c").write_text(SAYS.replace("text.h", "board.h"))
    with (tiny / "platformio.ini").open("a") as project:
        project.write("[env:mine]\nboard = mine\n")
    assert output(build(load_board("mine"), None).path) == "mine a-7 0"


def test_flags_of_a_board_are_in_its_manifest_alone(repository: Path) -> None:
    project = configparser.ConfigParser(interpolation=None)
    project.read(repository / "firmware/platformio.ini")
    environments = {name: dict(project[name]) for name in project.sections() if name.startswith("env:")}
    assert environments == {f"env:{name}": {"board": name} for name in board_names()}


def never(*_: object, **__: object) -> None:
    raise AssertionError("PlatformIO was started")


def test_what_was_built_before_does_not_start_platformio(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = load_board("sim")
    first = build(board, None)
    text = tiny / "app" / "text.h"
    old = text.read_bytes(), text.stat()
    text.write_text('#define TEXT "other"\n')
    assert build(board, None) != first
    text.write_bytes(old[0])

    monkeypatch.setattr(builder, "run", never)
    assert build(board, None) == first
    assert output(first.path) == "sim first 0"


def test_a_source_that_is_as_old_and_as_large_as_before_is_built(tiny: Path) -> None:
    text = tiny / "app" / "text.h"
    os.utime(text, (1_000_000_000, 1_000_000_000))
    assert output(build(load_board("sim"), None).path) == "sim first 0"
    text.write_text('#define TEXT "tsrif"\n')
    os.utime(text, (1_000_000_000, 1_000_000_000))
    assert output(build(load_board("sim"), None).path) == "sim tsrif 0"


def test_flags_and_compilers_are_part_of_an_image(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main = tiny / "port" / "posix" / "main.c"
    main.write_text('#include <stdio.h>\nint main(void) { printf("%d %s", NUMBER, COMPILER); return 0; }\n')
    said = []
    for number, compiler in ((1, "one"), (2, "one"), (2, "two"), (1, "one")):
        folder = tmp_path / compiler
        folder.mkdir(exist_ok=True)
        (folder / "cc").write_text(f'#!/bin/sh\nexec /usr/bin/cc \'-DCOMPILER="{compiler}"\' "$@"\n')
        (folder / "cc").chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
            patch.setenv("PLATFORMIO_BUILD_FLAGS", f"-DNUMBER={number}")
            said.append(output(build(load_board("sim"), None).path))
    assert said == ["1 one", "2 one", "2 two", "1 one"]


def test_a_build_that_is_killed_leaves_nothing_that_is_used(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that was killed leaves half an object: of another source than the one that is built next."""
    board = load_board("sim")
    assert output(build(board, None).path) == "sim first 0"

    def killed(work: Workspace, *_: object, **__: object) -> None:
        (half,) = work.objects.rglob("main.o")
        half.write_bytes(half.read_bytes()[:100])
        raise KeyboardInterrupt

    text = (tiny / "app" / "text.h").read_text()
    (tiny / "app" / "text.h").write_text('#define TEXT "second"\n')
    monkeypatch.setattr(builder, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        build(board, None)
    monkeypatch.setattr(builder, "run", run)
    (tiny / "app" / "text.h").write_text(text)
    (tiny / "app" / "more.h").touch()  # another image, of the same main.o
    assert output(build(board, None).path) == "sim first 0"


def test_sources_that_change_while_they_are_built_are_no_image(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def slow(*arguments: Any, **more: Any) -> None:
        (tiny / "app" / "text.h").write_text('#define TEXT "second"\n')
        run(*arguments, **more)

    text = (tiny / "app" / "text.h").read_text()
    monkeypatch.setattr(builder, "run", slow)
    with pytest.raises(BuildError, match="the sources changed while the firmware for sim was built: build it again"):
        build(load_board("sim"), None)
    monkeypatch.setattr(builder, "run", run)
    (tiny / "app" / "text.h").write_text(text)
    assert output(build(load_board("sim"), None).path) == "sim first 0"


def test_the_tests_build_no_firmware_that_has_warnings(tiny: Path) -> None:
    (tiny / "app" / "narrow.c").write_text("char narrow(int wide);\nchar narrow(int wide) { return wide; }\n")
    with pytest.raises(BuildError, match=r"narrow.c:2.* \[-Werror=conversion\]"):
        build(load_board("sim"), None)


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


def test_any_path_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the sources, the cache and the model; nothing is left elsewhere."""
    firmware = tree(tmp_path / ODD, monkeypatch)
    model = tmp_path / ODD / "model"
    model.mkdir()
    (model / "model.c").write_text("int model_answer(void) { return 42; }\n")
    (model / "model.h").write_text("int model_answer(void);\n")
    (model / "report.json").write_text("{}")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = set(firmware.parent.rglob("*"))
    built = build(load_board("sim"), None, model=model)
    assert output(built.path) == "sim first 42"
    assert built.path.is_relative_to(tmp_path / ODD / "cache")

    (firmware / "port" / "posix" / "main.c").write_text("int main(void) { return nothing; }\n")
    with pytest.raises(BuildError) as caught:
        build(load_board("sim"), None)
    message = str(caught.value)
    assert "build: port/posix/main.c:1:" in message
    assert "nothing" in Path(message.rpartition("log: ")[2].rstrip(")")).read_text()
    assert set(firmware.parent.rglob("*")) == before
    assert not list(scratch.iterdir())


def test_pio_uploads_as_spedge_flash_does(tiny: Path) -> None:
    """`pio run -t upload` ends in the same command, with the image that it has built."""
    board = load_board("sim")
    with workspace("upload", tiny, None, {}) as work:
        run(work, board, "app", lambda _: None)
        command = [sys.executable, "-m", "platformio", "run", "-d", str(tiny), "-e", "sim", "-t", "upload"]
        environment = platformio._environment(work, "app")
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "nothing to flash: sim is a process on this machine" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 0


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
    answers = []
    for answer in (42, 43, None, 42):
        model = tmp_path / str(answer) if answer else None
        if model and not model.exists():
            model.mkdir()
            (model / "model.c").write_text(f"int model_answer(void) {{ return {answer}; }}\n")
            (model / "model.h").write_text("int model_answer(void);\n")
            (model / "report.json").write_text(f'{{"answer": {answer}}}')
        firmware = build(load_board("sim"), None, model=model)
        assert firmware.report == ({"answer": answer} if answer else {})
        answers.append(output(firmware.path))
    assert answers == [f"sim first {answer}" for answer in (42, 43, 0, 42)]


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
