"""What can go wrong while compiling."""

from __future__ import annotations

from spedge.base.errors import InputError, UsageError


class CompileError(InputError):
    """The model cannot be compiled; the message names the node or the value that stands in the way."""


class MissingCompilerError(UsageError):
    """TVM or ONNX is not installed."""
