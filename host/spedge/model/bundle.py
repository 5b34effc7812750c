"""The model bundle: the directory that training exports and that the compiler, the host and the checks read.

Files: `bundle.json` (a `ModelSpec`, the files' hashes, and a hash over all of it), `encoder.onnx` (embedded tokens and
length to the outputs), `model.onnx` (the oracle: volumes, positions and length to the outputs), `embedding.npz` (the
token embedding), `vectors.npz` (a few real samples with everything computed from them) and, unless it is of an older
spedge, `calibration.npz`. Other files in the directory are ignored.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.base.files import whole
from spedge.base.paths import bundle_named
from spedge.model.graph import graph_columns
from spedge.model.parts import Detection, TokenInput
from spedge.model.spec import ModelSpec, from_document, to_document
from spedge.tokens.tokenizer import Tokens

FILES = ("encoder.onnx", "model.onnx", "embedding.npz", "vectors.npz")
KEPT_TOKEN_DTYPE = np.dtype(
    [("x", "<u2"), ("y", "<u2"), ("t", "<u8"), ("n", "<u4")]
)  #: a token of a sample; n: its events
#: A box of a step: its number among those of the sample, then as in `spedge.model.boxes`.
STEP_BOX_DTYPE = np.dtype(
    [("step", "<u4"), *((name, "<f4") for name in ("x", "y", "w", "h", "score")), ("label", "<u4")]
)
CALIBRATION = "calibration.npz"  #: which a bundle may lack: events of samples that the model has learned


@dataclass(frozen=True)
class Vector:
    """A real sample and what the host computes from it.

    events: structured (t u8, x u2, y u2, p u1); tokens: structured (x u2, y u2, t u8, n u4), all of them, or the events
    that are kept, each a token of its own; embedded: float32 [n, hidden], the window's rows, of a transformer with
    positions added; outputs: float32, by name; graph: what `graph_numbers` gives, of a GNN or PCN.

    Of a detector embedded, outputs and graph are those of the last step, to which the state was carried from the first;
    times: uint64 [steps], when they were, µs; boxes: STEP_BOX_DTYPE, of all of them.
    """

    events: NDArray[Any]
    tokens: NDArray[Any]
    embedded: NDArray[np.float32]
    outputs: Mapping[str, NDArray[np.float32]]
    graph: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    times: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    boxes: NDArray[Any] = field(default_factory=lambda: np.zeros(0, STEP_BOX_DTYPE))

    @property
    def logits(self) -> NDArray[np.float32]:
        """Of a classifier, float32 [classes]."""
        return self.outputs["logits"]


@dataclass(frozen=True)
class Bundle(ModelSpec):
    """A model on disk, checked. `hash` (64 hex digits) covers everything, through the files' hashes."""

    path: Path = Path()
    files: Mapping[str, str] = field(default_factory=dict)  #: name to SHA-256
    hash: str = ""

    @property
    def tokens(self) -> int:
        """T: the most tokens that the model sees, or events; a bundle has such a number."""
        return self.window or 0

    def model_name(self, precision: str) -> str:
        """What a device calls the model in that precision: the bundle's name, and the precision unless fp32."""
        return self.name if precision == "fp32" else f"{self.name} ({precision})"

    @property
    def hash_bytes(self) -> bytes:
        """The 32 bytes that a device reports for this model."""
        return bytes.fromhex(self.hash)

    def verdict(self, logits: NDArray[np.float32]) -> tuple[str, float]:
        """The label of the largest logit and its softmax; logits: float32 [classes]."""
        best = int(logits.argmax())
        return self.labels[best], float(1 / np.exp(logits - logits[best]).sum())

    def file(self, name: str) -> Path:
        """Path of one of the bundle's files."""
        return self.path / name

    def embedding_arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The token embedding: weight float32 [hidden, cells] and bias float32 [hidden].

        cell = ((p * buckets + bucket) * P + y) * P + x.
        """
        return _embedding_arrays(self)

    def vectors(self) -> list[Vector]:
        """The samples kept with the bundle. Raises InputError when they cannot be read."""
        arrays = _npz(self.file("vectors.npz"))
        count = sum(name.startswith("events_") for name in arrays)
        try:
            return [
                Vector(
                    arrays[f"events_{i}"],
                    arrays[f"tokens_{i}"],
                    arrays[f"embedded_{i}"],
                    {output.name: arrays[f"{output.name}_{i}"] for output in self.outputs},
                    {name: arrays[f"{name}_{i}"] for name in graph_columns(self.encoder)},
                    **{name: arrays[f"{name}_{i}"] for name in ("times", "boxes") if isinstance(self.task, Detection)},
                )
                for i in range(count)
            ]
        except KeyError as error:
            raise InputError(f"{self.file('vectors.npz')} lacks {error}: {_REMEDY}") from None

    def calibration(self) -> list[NDArray[Any]]:
        """Events of samples that the model has learned, for ranges in 8 bits; none in older bundles."""
        if CALIBRATION not in self.files:
            return []
        return list(_npz(self.file(CALIBRATION)).values())

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Bundle:
        """Read and check a bundle directory, or the bundle of that name that comes with spedge.

        Raises InputError, naming the file and what to do, when a file is missing, does not match its hash,
        or says something that cannot be.
        """
        bundle = Bundle.described(path)
        for name in (*FILES, *(set(bundle.files) & {CALIBRATION})):
            _check_file(bundle, name)
        _embedding_arrays(bundle)
        return bundle

    @staticmethod
    def described(path: str | os.PathLike[str]) -> Bundle:
        """A bundle by its description alone: the other files are not looked at. Raises as `load`."""
        folder = bundle_named(Path(path))
        document = _read_document(folder)
        try:
            bundle = _from_document(document, folder)
        except (ValueError, InputError) as error:
            raise InputError(
                f"{folder / 'bundle.json'} is not a valid bundle description ({error}): {_REMEDY}"
            ) from None
        if bundle.hash != _document_hash(document):
            raise InputError(f"{folder / 'bundle.json'} was changed after export (its hash does not match): {_REMEDY}")
        return bundle


_REMEDY = "export or copy the bundle again."


def write_bundle(path: str | os.PathLike[str], spec: ModelSpec, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle directory and load it back.

    files: contents of every name in `FILES`, and of CALIBRATION if there is one. `bundle.json` is written last, so that
    an interrupted write is not taken for a bundle. Other files in the directory stay.
    """
    if set(files) - {CALIBRATION} != set(FILES):
        raise ValueError(f"a bundle has exactly the files {FILES} and perhaps {CALIBRATION}, got {sorted(files)}")
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bundle.json").unlink(missing_ok=True)
    for name, content in files.items():
        with whole(folder / name) as part:
            part.write_bytes(content)
    document = to_document(spec)
    document["files"] = {
        name: hashlib.sha256(files[name]).hexdigest() for name in (*FILES, CALIBRATION) if name in files
    }
    document["hash"] = _document_hash(document)
    with whole(folder / "bundle.json") as part:
        part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return Bundle.load(folder)


def token_table(tokens: Tokens) -> NDArray[Any]:
    """KEPT_TOKEN_DTYPE [n], as vectors.npz keeps tokens."""
    table = np.zeros(len(tokens), KEPT_TOKEN_DTYPE)
    table["x"], table["y"], table["t"], table["n"] = tokens.x, tokens.y, tokens.t, tokens.n
    return table


def npz_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An .npz file's content."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _document_hash(document: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in document.items() if key != "hash"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _read_document(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a bundle: give the directory that 'spedge export' wrote.")
    try:
        document = json.loads((folder / "bundle.json").read_bytes())
    except FileNotFoundError:
        raise InputError(f"{folder} holds no bundle.json, so it is not a bundle: {_REMEDY}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'bundle.json'} cannot be read ({error}): {_REMEDY}") from None
    if not isinstance(document, dict):
        raise InputError(f"{folder / 'bundle.json'} is not a bundle description: {_REMEDY}")
    return document


def _from_document(document: dict[str, Any], folder: Path) -> Bundle:
    files, digest = document.get("files"), document.get("hash")
    if not isinstance(files, dict):
        raise ValueError(f"files is {files!r}, not an object")
    if not isinstance(digest, str) or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise ValueError(f"hash is {digest!r}, not 64 hexadecimal digits")
    spec = from_document({name: value for name, value in document.items() if name not in ("files", "hash")})
    if not spec.outputs or (isinstance(spec.representation, TokenInput) and spec.representation.window is None):
        raise ValueError("a bundle names its outputs and the tokens of its window")
    return Bundle(**{f.name: getattr(spec, f.name) for f in fields(spec)}, path=folder, files=files, hash=digest)


def _check_file(bundle: Bundle, name: str) -> None:
    path = bundle.file(name)
    if name not in bundle.files:
        raise InputError(f"{bundle.path / 'bundle.json'} does not list {name}: {_REMEDY}")
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise InputError(f"{path} is missing from the bundle: {_REMEDY}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): {_REMEDY}") from None
    if digest != bundle.files[name]:
        raise InputError(f"{path} is damaged or was changed (its hash does not match bundle.json): {_REMEDY}")


def _npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # numpy raises zipfile, zlib, OS, key and value errors for a bad archive
        raise InputError(f"{path} cannot be read ({error}): {_REMEDY}") from None


def _embedding_arrays(bundle: Bundle) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    path = bundle.file("embedding.npz")
    arrays = _npz(path)
    seen = bundle.representation
    columns = seen.cells if isinstance(seen, TokenInput) else 2
    wanted: Sequence[tuple[str, tuple[int, ...]]] = (("weight", (seen.features, columns)), ("bias", (seen.features,)))
    for name, shape in wanted:
        array = arrays.get(name)
        if array is None or array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
            raise InputError(f"{path}: '{name}' is not a finite float32 array of shape {shape}: {_REMEDY}")
    return arrays["weight"], arrays["bias"]
