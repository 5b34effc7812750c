"""What can go wrong while compiling."""

from __future__ import annotations

from spedge.errors import InputError, SpedgeError


class CompileError(InputError):
    """The model cannot be compiled; the message names the node or the value that stands in the way."""


class MissingCompilerError(SpedgeError):
    """TVM or ONNX is not installed."""

    exit_code = 2
