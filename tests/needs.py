"""What a test needs of the machine: skip it, saying what to install, without loading anything to find out."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

EXTRAS = {
    "matplotlib": "view",
    "neuromorphic_drivers": "cameras",
    "onnx": "compile",
    "platformio": "firmware",
    "torch": "train",
    "tvm": "compile",
}


def needs(*names: str) -> None:
    """Skip the test, or at the top of a file all of its tests, where a module of EXTRAS or a program is missing."""
    for name in names:
        if name in EXTRAS and importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'spedge[{EXTRAS[name]}]'", allow_module_level=True)
        if name not in EXTRAS and shutil.which(name) is None:
            pytest.skip(f"{name} is not installed", allow_module_level=True)
