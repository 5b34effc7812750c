"""What kernels are written with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


class Builder:
    """A thin layer over TVM's TensorIR builder: only what the kernels say."""

    def __init__(self) -> None:
        from tvm import tirx
        from tvm.script.ir_builder import IRBuilder
        from tvm.script.ir_builder import tirx as script

        self._tirx, self._script, self._name = tirx, script, IRBuilder.name

    @contextmanager
    def loop(self, extent: Any, name: str) -> Iterator[Any]:
        with self._script.serial(0, extent) as variable:
            self._name(name, variable)
            yield variable

    @contextmanager
    def when(self, condition: Any) -> Iterator[None]:
        with self._script.If(condition), self._script.Then():
            yield

    def unrolled(self, extent: Any, by: int, step: Callable[[Any], None]) -> None:
        """for k in range(extent): step(k), `by` steps at a time, the rest one by one."""
        if isinstance(extent, int) and extent <= by:
            for k in range(extent):
                step(k)
            return
        with self.loop(extent // by, "k") as block:
            for k in range(by):
                step(block * by + k)
        rest = extent % by
        if isinstance(extent, int):
            for k in range(extent - rest, extent):
                step(k)
        else:
            with self.loop(rest, "k") as k:
                step(extent - rest + k)

    def array(self, size: int, name: str, dtype: str = "float32") -> Any:
        buffer = self._script.alloc_buffer((size,), dtype)
        self._name(name, buffer)
        return buffer

    def local(self, value: Any, name: str = "value") -> Any:
        variable = self._script.Bind(value)
        self._name(name, variable)
        return variable

    def store(self, buffer: Any, at: Any, value: Any) -> None:
        self._script.buffer_store(buffer, value, [at])

    def number(self, value: float) -> Any:
        """A float32 constant. TVM prints seven digits; what those cannot say goes by its bits."""
        if np.float32(f"{value:.6e}") == np.float32(value):
            return self._tirx.const(value, "float32")
        return self.call("sp_k_bits", self._tirx.const(int(np.float32(value).view(np.int32)), "int32"))

    def call(self, function: str, *args: Any) -> Any:
        # Declared as if it had effects, so that TVM does not repeat it wherever its result is read.
        return self._tirx.call_extern("float32", function, *args)

    def integer_call(self, dtype: str, function: str, *args: Any) -> Any:
        return self._tirx.call_extern(dtype, function, *args)

    def do(self, function: str, *args: Any) -> None:
        """Call a function for what it writes."""
        self._script.evaluate(self._tirx.call_extern("void", function, *args))

    def address(self, buffer: Any, at: Any) -> Any:
        return self._tirx.address_of(buffer[at])

    def cast(self, value: Any, dtype: str) -> Any:
        return self._tirx.Cast(dtype, value)

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        return self.call("SP_K_FMA", x, y, z)

    def maximum(self, x: Any, y: Any) -> Any:
        return self.call("SP_K_MAX", x, y)

    def sqrt(self, x: Any) -> Any:
        return self.call("SP_K_SQRT", x)
