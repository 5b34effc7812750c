"""From a model bundle to plain C for the firmware: ONNX -> TVM -> C with a planned arena.

`compile_bundle` and, for an ONNX file that is no bundle, `compile_onnx` are the whole interface. TVM and ONNX are
imported when they run, not before.
"""

from __future__ import annotations

from .driver import compile_bundle
from .errors import CompileError
from .fixed.onnx_file import compile_onnx
from .precision import PRECISIONS
from .quantised import quantised_encoder
from .report import CompileReport
from .targets import TARGETS, Target, find_target

__all__ = [
    "PRECISIONS",
    "TARGETS",
    "CompileError",
    "CompileReport",
    "Target",
    "compile_bundle",
    "compile_onnx",
    "find_target",
    "quantised_encoder",
]
