"""A bundle's encoder in reduced precision as an ONNX graph, for the host: what int8 costs, without a board.

A transformer's is the graph that is compiled for boards, rounded as these round. Of a GNN or PCN, which no board takes
yet, ONNX Runtime's own quantiser makes one: products with weights on 8-bit weights and activations.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.model.parts import Transformer

from .calibration import embedded_samples, encoder_inputs
from .precision import find_precision

if TYPE_CHECKING:
    from spedge.model.bundle import Bundle


def quantised_encoder(bundle: Bundle, precision: str, out: Path, on_progress: Callable[[str], None]) -> None:
    """Write encoder.onnx of the bundle in that precision to the file `out`, calibrated on samples that it learned.

    Raises UsageError for a precision that there is not, and CompileError when the bundle keeps no samples.
    """
    find_precision(precision)
    if isinstance(bundle.model, Transformer):
        from .driver import import_encoder
        from .graph.quantise import quantise
        from .graph.reference import to_onnx

        graph = import_encoder(bundle, on_progress)
        on_progress("calibrating")
        quantise(graph, precision, embedded_samples(bundle))
        out.write_bytes(to_onnx(graph).SerializeToString())
    elif precision != "int8":
        raise UsageError(f"a {bundle.model.type} is there in fp32 and int8, not in {precision}")
    else:
        on_progress("calibrating")
        _by_onnxruntime(bundle, out)


def _by_onnxruntime(bundle: Bundle, out: Path) -> None:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    graph = onnx.load(str(bundle.file("encoder.onnx"))).graph
    constant = {value.name for value in graph.initializer}
    products = [n.name for n in graph.node if n.op_type in ("MatMul", "Gemm") and n.input[1] in constant]

    class Samples(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = encoder_inputs(bundle)

        def get_next(self) -> Mapping[str, NDArray[Any]] | None:
            return next(self.rest, None)

    with _quiet(), tempfile.TemporaryDirectory() as scratch:  # the quantiser leaves files beside what it reads
        given = Path(scratch) / "encoder.onnx"
        given.write_bytes(bundle.file("encoder.onnx").read_bytes())
        quantize_static(
            given,
            out,
            Samples(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=products,
            extra_options={"ActivationSymmetric": True},
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises a step before it that is of no use here, by the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
