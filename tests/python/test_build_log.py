"""The error of a build log is the error: on what compilers and linkers here really say, among PlatformIO's lines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from spedge.boards.build_log import what_went_wrong
from tests.needs import needs

COMPILERS = ["cc", "arm-none-eabi-gcc"]
BEFORE = """\
Processing netduinoplus2 (board: netduinoplus2; platform: spedge)
--------------------------------------------------------------------------------
Verbose mode can be enabled via `-v, --verbose` option
Compiling /cache/build/pio/netduinoplus2/src/app/error.o
Compiling /cache/build/pio/netduinoplus2/src/lib/src/undefined reference/Error: .o
Linking /cache/build/pio/netduinoplus2/error.elf
"""
AFTER = """\
*** [/cache/build/pio/netduinoplus2/error.elf] Error 1
========================= [FAILED] Took 12.70 seconds =========================

Environment    Status    Duration
-------------  --------  ------------
netduinoplus2  FAILED    00:00:12.700
==================== 1 failed, 0 succeeded in 00:00:12.700 ====================
"""
MEMORY = """
MEMORY { FLASH (rx) : ORIGIN = 0, LENGTH = 4K
         RAM (rw) : ORIGIN = 0x20000000, LENGTH = 1K }
SECTIONS { .text : { *(.text*) *(.rodata*) } > FLASH  .bss : { *(.bss*) *(COMMON) } > RAM }
"""


def log_of(command: list[str], folder: Path) -> list[str]:
    """What PlatformIO would say of a command that fails."""
    needs(command[0])
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return (BEFORE + done.stdout + done.stderr + AFTER).splitlines()


def source(folder: Path, text: str, name: str = "error.c") -> str:
    (folder / name).write_text(text)
    return name


@pytest.mark.parametrize(
    ("text", "memories"),
    [
        ("const char big[8192] = {1};", {"FLASH"}),
        ("char big[8192];", {"RAM"}),
        ("char big[8192]; const char other[8192] = {1};", {"FLASH", "RAM"}),
    ],
)
@pytest.mark.parametrize("compiler", ["arm-none-eabi-gcc"])
def test_a_program_that_is_larger_than_the_memory(tmp_path: Path, compiler: str, text: str, memories: set[str]) -> None:
    (tmp_path / "memory.ld").write_text(MEMORY)
    name = source(tmp_path, f"{text}\nvoid _start(void) {{ for (;;) {{ }} }}\n")
    log = log_of([compiler, "-mthumb", "-nostdlib", "-T", "memory.ld", name, "-o", "error.elf"], tmp_path)
    said = what_went_wrong(log)
    assert said.startswith("the program is larger than the board's memory, ")
    assert said.endswith(": choose a smaller model, or another board")
    for memory, size in (("FLASH", 4096), ("RAM", 7168)):
        assert (memory in said) == (memory in memories)
        if f"{memory} by " in said:
            assert size <= int(said.split(f"{memory} by ")[1].split()[0]) < size + 64
    assert " by " in said or memories == {"FLASH"}  # one section that is larger than all of it: no number is said


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("int error(void) { return nothing; }", "error.c:1:26: error: "),
        ("/* error: */\nint error = 1\n", "error: "),
        ('#include "no_error.h"\n', "error.c:1:10: fatal error: no_error.h: No such file or directory"),
        ("#error too few of them\n", "error.c:1:2: error: #error too few of them"),
        ('void error(void) { __asm__("no_such"); }\n', "Error: "),
        (
            "int wrong(int error) {\n if (error == 1) goto error;\n int unused;\n error: return nothing;\n}",
            "error.c:4:16: error: ",
        ),
    ],
)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_what_compilers_say(tmp_path: Path, compiler: str, text: str, wanted: str) -> None:
    log = log_of([compiler, "-Wall", "-Wextra", "-c", source(tmp_path, text), "-o", "error.o"], tmp_path)
    assert wanted in what_went_wrong(log)


@pytest.mark.parametrize(
    ("text", "options", "wanted"),
    [
        ("int missing(void); int main(void) { return missing(); }", [], "undefined reference to `missing'"),
        ("int main(void) { return 0; }", ["-lerror"], "cannot find -lerror"),
        ("int main(void) { return 0; }", ["again.c"], "multiple definition of `main'"),
        ("int main(void) { return 0; }", ["-T", "error.ld"], "cannot open linker script file error.ld"),
    ],
)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_what_linkers_say(tmp_path: Path, compiler: str, text: str, options: list[str], wanted: str) -> None:
    source(tmp_path, "int main(void) { return 1; }", "again.c")
    log = log_of([compiler, source(tmp_path, text), *options, "-o", "error.elf"], tmp_path)
    said = what_went_wrong(log)
    assert wanted in said
    assert not said.startswith("/usr/")


def test_a_missing_compiler(tmp_path: Path) -> None:
    log = log_of(["sh", "-c", "no-such-gcc -c error.c"], tmp_path)
    assert "no-such-gcc: not found" in what_went_wrong(log)


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("Error: Unknown board ID 'errorboard'", None),
        ("UnknownPackageError: Could not find the package with 'platformio/tool-error' requirements", None),
        ("Error: The program size (70000 bytes) is greater than maximum allowed (65536 bytes)", None),
        ("Error: Could not open port '/dev/ttyACM0': it is in use", None),
        ("cc1: fatal error: Killed signal terminated program cc1\ncompilation terminated.", "cc1: fatal error: Killed"),
        (
            "Traceback (most recent call last):\n"
            '  File "/x/error.py", line 3, in error\n    raise FileNotFoundError(error)\n'
            "FileNotFoundError: [Errno 2] No such file or directory: '/x/firmware':",
            "FileNotFoundError: ",
        ),
    ],
)
def test_what_platformio_says(lines: str, wanted: str | None) -> None:
    assert what_went_wrong((BEFORE + lines + "\n" + AFTER).splitlines()).startswith(wanted or lines)


def test_nothing_but_the_step_that_failed() -> None:
    assert what_went_wrong((BEFORE + AFTER).splitlines()) == "*** [/cache/build/pio/netduinoplus2/error.elf] Error 1"
    assert what_went_wrong([*BEFORE.splitlines()[:3], "it went away", *AFTER.splitlines()[1:]]) == "it went away"
    assert what_went_wrong([]) == "PlatformIO said nothing"
