"""The frame parser and the command handler under random programs, with the address sanitizer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.needs import needs
from tests.variants import long


@pytest.mark.parametrize("detector", [*long(False), True])
def test_the_application_survives_random_programs(repository: Path, tmp_path: Path, detector: bool) -> None:
    needs("cc")
    firmware = repository / "firmware"
    sources = [*(firmware / "lib/src").glob("*.c"), repository / "tests/fuzz/fuzz_app.c"]
    sources += [path for path in (firmware / "app").glob("*.c") if path.name != "main.c"]
    includes = [f"-I{firmware / name}" for name in ("lib/include", "runtime/include", "app", "port")]
    flags = ["-std=gnu11", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DSP_HAS_MODEL=1"]
    flags += ["-DFUZZ_DETECTOR"] if detector else []
    binary = tmp_path / "fuzz_app"
    subprocess.run(["cc", *flags, *includes, *map(str, sources), "-lm", "-o", str(binary)], check=True)
    done = subprocess.run([binary, "4000", "1"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    inputs, size, replies, results, pages, found, left_out = (
        int(word) for word in done.stdout.replace(",", "").split() if word.isdigit()
    )
    assert inputs == 4000
    assert size > 1_000_000
    assert replies > 100_000
    assert results > (300 if detector else 500)
    assert pages > 100
    assert (found > 500, left_out > 10) == (detector, detector)
