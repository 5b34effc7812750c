"""ONNX Runtime's execution providers: which there are here, and a session by those that are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spedge.base.errors import InputError, UsageError

_SUFFIX = "ExecutionProvider"
#: The package of ONNX Runtime that brings a provider, where it is not in the usual one.
PACKAGES = {
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu",
    "openvino": "onnxruntime-openvino",
    "rocm": "onnxruntime-rocm",
    "migraphx": "onnxruntime-migraphx",
    "dml": "onnxruntime-directml",
    "qnn": "onnxruntime-qnn",
    "cann": "onnxruntime-cann",
}


def short(provider: str) -> str:
    """'cuda' of 'CUDAExecutionProvider'."""
    return provider.removesuffix(_SUFFIX).lower()


def provider_names(wanted: str) -> list[str]:
    """ONNX Runtime's names of the providers in a list like "tensorrt,cuda,cpu", which are tried in this order.

    Raises UsageError for one that it does not know, or that the ONNX Runtime that is installed does not have.
    """
    import onnxruntime

    known = {short(name): name for name in onnxruntime.get_all_providers()}
    here = {short(name) for name in onnxruntime.get_available_providers()}
    names = [short(name.strip()) for name in wanted.split(",")]
    for name in names:
        if name not in known:
            raise UsageError(f"ONNX Runtime knows no provider {name!r}: choose of {', '.join(sorted(known))}")
        if name not in here:
            package = PACKAGES.get(name)
            how = f"pip install {package} in the place of onnxruntime" if package else "it has to be built with it"
            raise UsageError(
                f"the ONNX Runtime that is installed has no provider {name!r}, only {', '.join(sorted(here))}: {how}"
            )
    return [known[name] for name in names]


def provider_session(path: Path, providers: Sequence[str], threads: int = 0) -> Any:
    """An InferenceSession by the first of these providers, and what it does not take by those after it, and the CPU.

    threads: that one operator computes on; 0: as many as ONNX Runtime takes by itself.

    Raises InputError when the model cannot be run, or the first provider does not start on this machine.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # onnxruntime has a class per kind of failure, none of them public
        raise InputError(f"{path} cannot be run by ONNX Runtime ({error})") from error
    if session.get_providers()[0] != providers[0]:  # it falls back to the next one, and only warns
        raise InputError(
            f"ONNX Runtime's provider {short(providers[0])} does not start on this machine: its libraries or its "
            "driver are missing, or there is no such device"
        )
    return session
