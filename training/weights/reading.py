"""Files of weights to tensors by name. Nothing that a file pickles is run."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from spedge.base.errors import InputError, line_of

#: All that a pickle of tensors needs to name, as torch itself allows; how a storage is read is torch's.
_ALLOWED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,  # type: ignore[attr-defined]
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,  # type: ignore[attr-defined]
    ("torch.storage", "UntypedStorage"): torch.UntypedStorage,
}


class Inert:
    """Stands for an object of any other class, and for the result of any other call: it does and holds nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        """Whatever it would be made of is dropped."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, *_: Any, **__: Any) -> Inert:
        """As of a method that is looked up on it."""
        return Inert()

    def __setstate__(self, _: Any) -> None: ...

    def __setitem__(self, _: Any, __: Any) -> None: ...

    def append(self, _: Any) -> None:
        """As of a list's subclass."""

    def extend(self, _: Any) -> None:
        """As of a list's subclass."""

    def add(self, _: Any) -> None:
        """As of a set's subclass."""


@dataclass(frozen=True)
class Pickled:
    """What a file holds. foreign: names of classes and functions in whose place something inert stands."""

    content: Any
    foreign: tuple[str, ...]


def read_pickle(path: Path) -> Pickled:
    """A file of `torch.save`, as Lightning's checkpoints are, whatever classes it names: they need not exist here.

    Raises InputError for another file, and for one that holds a program of TorchScript.
    """
    foreign: set[str] = set()

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) in _ALLOWED:
                return _ALLOWED[module, name]
            foreign.add(f"{module}.{name}")
            return type(name.rpartition(".")[2], (Inert,), {})

    try:
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise InputError(f"{path} is a program of TorchScript: give a checkpoint with a state_dict.")
        reader: Any = SimpleNamespace(Unpickler=Unpickler, __name__="spedge.training.weights.reading")
        content = torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False, mmap=True)
    except (FileNotFoundError, IsADirectoryError):
        raise InputError(f"There is no file {path}: give a checkpoint.") from None
    except (InputError, MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # what a damaged pickle does: nearly anything
        raise InputError(f"{path} is no checkpoint that torch saved ({line_of(error)}): copy it again.") from None
    return Pickled(content, tuple(sorted(foreign)))


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """Tensors by name of a `.safetensors` file or of a state_dict that torch saved. Raises InputError for another."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            tensors: Any = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
            tensors = tensors.get("state_dict", tensors) if isinstance(tensors, dict) else tensors
    except FileNotFoundError:
        raise InputError(f"There is no file {path}: give one of weights.") from None
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise InputError(f"{path} is no file of weights ({line_of(error)}): copy it again.") from None
    if not isinstance(tensors, Mapping) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise InputError(f"{path} is no file of weights: it holds other things than tensors by name.")
    return tensors


def sha256_of(path: Path) -> str:
    """Digest of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()
