"""What tests need: skipped where it is missing, never loaded to find out, and left out of a quick run."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import EXTRAS, SLOW, needs


def test_what_is_missing_is_named_with_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("onnx", "sh")
    monkeypatch.setitem(EXTRAS, "no_such_module", "ros")
    with pytest.raises(pytest.skip.Exception, match=r"no_such_module is not installed: pip install 'spedge\[ros\]'"):
        needs("no_such_module")
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        needs("no-such-program")


@pytest.mark.parametrize("name", ["cc", "arm-none-eabi-gcc", "make", "qemu-system-arm", "platformio", "torch"])
def test_a_quick_run_builds_nothing(repository: Path, name: str) -> None:
    """What needs it is skipped; and a program that is started all the same is an error."""
    code = (
        "import subprocess, sys, pytest\nfrom tests.needs import be_quick, needs\nbe_quick()\nneeds('sh', 'onnx')\n"
        f"try:\n    needs({name!r})\nexcept pytest.skip.Exception as skipped:\n    print(skipped)\n"
        f"try:\n    subprocess.run([sys.executable, '-m', {name!r}] if {name!r} in 'platformio' else [{name!r}])\n"
        "except (AssertionError, FileNotFoundError) as error:\n    print(type(error).__name__)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repository, check=True)
    refused = "FileNotFoundError" if name == "torch" else "AssertionError"
    assert said.stdout.splitlines() == [f"needs {name}: not in a quick run", refused], said.stderr


def test_no_file_loads_what_is_slow_before_it_is_needed(repository: Path) -> None:
    loading = []
    for path in sorted((repository / "tests").rglob("test_*.py")):
        said: set[str] = set()
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for call in ast.walk(node) if not isinstance(node, ast.FunctionDef) else ():
                if isinstance(call, ast.Call):
                    words = {word.value for word in call.args if isinstance(word, ast.Constant)}
                    if getattr(call.func, "attr", "") == "importorskip":
                        names += map(str, words)
                    elif getattr(call.func, "id", "") == "needs":
                        said |= {str(word) for word in words}
            loading += [f"{path.name}: {name}" for name in names if name.split(".")[0] in SLOW - said]
    assert loading == []
