"""The samples that ranges in 8 bits are measured on: learned ones, or in older bundles the held-out vectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .errors import CompileError

if TYPE_CHECKING:
    from spedge.model.bundle import Bundle

    from .graph.nodes import Array


def embedded_samples(bundle: Bundle) -> list[Array]:
    """Embedded tokens of each, of a transformer."""
    from spedge.model.reference import Reference

    learned = bundle.calibration()
    if not learned:
        return [vector.embedded for vector in bundle.vectors()]
    reference = Reference(bundle)
    return [reference.encoder_input(reference.tokenize(events)[0]) for events in learned]


def encoder_inputs(bundle: Bundle) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Inputs of encoder.onnx for each. Raises CompileError when there are none."""
    from spedge.model.reference import Reference

    reference = Reference(bundle)
    samples = bundle.calibration() or [vector.events for vector in bundle.vectors()]
    if not samples:
        raise CompileError("int8 is calibrated on the bundle's samples and it keeps none: export it again")
    for events in samples:
        yield reference.encoder_inputs(reference.tokenize(events)[0])
