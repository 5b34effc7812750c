"""The model bundle: the directory that training exports and that the compiler, the host and the checks read.

Files: `bundle.json` (this module's dataclasses), `encoder.onnx` (embedded tokens and length to logits),
`model.onnx` (the oracle: volumes, positions and length to logits), `embedding.npz` (the token embedding) and
`vectors.npz` (a few real samples with everything computed from them). Other files in the directory are ignored.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.base.files import whole

SCHEMA = 1
FILES = ("encoder.onnx", "model.onnx", "embedding.npz", "vectors.npz")


@dataclass(frozen=True)
class SensorConfig:
    """Size in pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class TokenizerConfig:
    """Arguments of `spedge.Tokenizer`, the sensor's size apart."""

    kind: str = "continuous"
    patch_size: int = 16
    threshold: float = 256.0
    absolute_refractory_us: int = 0
    relative_refractory_us: int = 0
    relative_scale: float = 0.4
    decay_per_us: float = 0.0


@dataclass(frozen=True)
class EmbeddingConfig:
    """Log-time volume with `buckets` ages, mapped to `hidden` features; times are divided by `time_scale_us`."""

    buckets: int = 10
    hidden: int = 64
    time_scale_us: float = 50_000.0


@dataclass(frozen=True)
class EncoderConfig:
    """The transformer on top of the embedded tokens.

    attention: "full" (CLS in front, all tokens of a window attend to each other) or "causal" (a token attends to
    itself and those before it, mean pooling: computed token by token).
    """

    type: str = "transformer"
    hidden: int = 64
    intermediate: int = 128
    heads: int = 4
    layers: int = 2
    attention: str = "full"


@dataclass(frozen=True)
class Accuracy:
    """Share of `samples` of the split that were classified right."""

    split: str
    samples: int
    top1: float


@dataclass(frozen=True)
class BundleSpec:
    """What a bundle says about itself, but for its files and hashes."""

    name: str
    preset: str
    sensor: SensorConfig
    tokenizer: TokenizerConfig
    embedding: EmbeddingConfig
    encoder: EncoderConfig
    tokens: int  #: window length T
    labels: tuple[str, ...]
    accuracy: Accuracy | None = None
    training: Mapping[str, Any] = field(default_factory=dict)  #: free: data, seed, time, versions

    @property
    def columns(self) -> int:
        """Patch columns of the sensor."""
        return -(-self.sensor.width // self.tokenizer.patch_size)

    @property
    def rows(self) -> int:
        """Patch rows of the sensor."""
        return -(-self.sensor.height // self.tokenizer.patch_size)

    def window_tokens(self, count: int) -> int:
        """How many of the newest tokens the model sees when there are `count` since the stream's start.

        With full attention the last T. A causal model cannot forget a single token, so its windows lie end to end:
        after T tokens the next one starts a new window, and times count from that token.
        """
        if self.encoder.attention == "causal" and count > 0:
            return (count - 1) % self.tokens + 1
        return min(count, self.tokens)

    @property
    def cells(self) -> int:
        """Cells of a token's log-time volume, 2 * buckets * P * P."""
        return 2 * self.embedding.buckets * self.tokenizer.patch_size**2


@dataclass(frozen=True)
class Vector:
    """A real sample and what the host computes from it.

    events: structured (t u8, x u2, y u2, p u1); tokens: structured (x u2, y u2, t u8, n u4), all of them;
    embedded: float32 [n, hidden], the window's rows with positions added; logits: float32 [classes].
    """

    events: NDArray[Any]
    tokens: NDArray[Any]
    embedded: NDArray[np.float32]
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Bundle(BundleSpec):
    """A bundle on disk, checked. `hash` (64 hex digits) covers everything, through the files' hashes."""

    path: Path = Path()
    files: Mapping[str, str] = field(default_factory=dict)  #: name to SHA-256
    hash: str = ""

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
                Vector(*(arrays[f"{part}_{i}"] for part in ("events", "tokens", "embedded", "logits")))
                for i in range(count)
            ]
        except KeyError as error:
            raise InputError(f"{self.file('vectors.npz')} lacks {error}: {_REMEDY}") from None

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Bundle:
        """Read and check a bundle directory.

        Raises InputError, naming the file and what to do, when a file is missing, does not match its hash,
        or says something that cannot be.
        """
        folder = Path(path)
        document = _read_document(folder)
        try:
            bundle = _from_document(document, folder)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"'{error.args[0]}' is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(
                f"{folder / 'bundle.json'} is not a valid bundle description ({reason}): {_REMEDY}"
            ) from None
        if bundle.hash != _document_hash(document):
            raise InputError(f"{folder / 'bundle.json'} was changed after export (its hash does not match): {_REMEDY}")
        for name in FILES:
            _check_file(bundle, name)
        _embedding_arrays(bundle)
        return bundle


_REMEDY = "export or copy the bundle again."
_T = TypeVar("_T")


def write_bundle(path: str | os.PathLike[str], spec: BundleSpec, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle directory and load it back.

    files: contents of every name in `FILES`. `bundle.json` is written last, so that an interrupted write is not
    taken for a bundle. Other files in the directory stay.
    """
    if set(files) != set(FILES):
        raise ValueError(f"a bundle has exactly the files {FILES}, got {sorted(files)}")
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bundle.json").unlink(missing_ok=True)
    for name, content in files.items():
        with whole(folder / name) as part:
            part.write_bytes(content)
    document = {"schema": SCHEMA, **asdict(spec)}
    document["files"] = {name: hashlib.sha256(files[name]).hexdigest() for name in FILES}
    document["hash"] = _document_hash(document)
    with whole(folder / "bundle.json") as part:
        part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return Bundle.load(folder)


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
    if document.get("schema") != SCHEMA:
        raise InputError(
            f"{folder / 'bundle.json'} has schema {document.get('schema')!r} and this spedge reads {SCHEMA}: "
            "export the bundle again with this version."
        )
    return document


def _from_document(document: dict[str, Any], folder: Path) -> Bundle:
    accuracy = document.get("accuracy")
    bundle = Bundle(
        name=_typed(document["name"], str, "name"),
        preset=_typed(document["preset"], str, "preset"),
        sensor=_section(SensorConfig, document, "sensor"),
        tokenizer=_section(TokenizerConfig, document, "tokenizer"),
        embedding=_section(EmbeddingConfig, document, "embedding"),
        encoder=_section(EncoderConfig, document, "encoder"),
        tokens=_typed(document["tokens"], int, "tokens"),
        labels=tuple(_typed(label, str, "labels") for label in _typed(document["labels"], list, "labels")),
        accuracy=None if accuracy is None else _section(Accuracy, document, "accuracy"),
        training=_typed(document.get("training", {}), dict, "training"),
        path=folder,
        files=_typed(document["files"], dict, "files"),
        hash=_typed(document["hash"], str, "hash"),
    )
    _check_values(bundle)
    return bundle


def _typed(value: Any, kind: type[_T], name: str) -> _T:
    if kind is float and type(value) is int:
        value = float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r}")
    return value


def _section(kind: type[_T], document: dict[str, Any], name: str) -> _T:
    section = _typed(document[name], dict, name)
    types = {"int": int, "float": float, "str": str}
    return kind(
        **{f.name: _typed(section[f.name], types[str(f.type)], f"{name}.{f.name}") for f in fields(kind)}  # type: ignore[arg-type]
    )


def _check_values(bundle: Bundle) -> None:
    tokenizer, embedding, encoder = bundle.tokenizer, bundle.embedding, bundle.encoder
    checks = {
        "sensor": all(1 <= side <= 65535 for side in (bundle.sensor.width, bundle.sensor.height)),
        "tokenizer.kind": tokenizer.kind == "continuous",
        "tokenizer.patch_size": 1 <= tokenizer.patch_size <= 65535,
        "tokenizer.threshold": math.isfinite(tokenizer.threshold) and tokenizer.threshold > 0,
        "tokenizer.absolute_refractory_us": tokenizer.absolute_refractory_us >= 0,
        "tokenizer.relative_refractory_us": tokenizer.relative_refractory_us >= 0,
        "tokenizer.relative_scale": 0 < tokenizer.relative_scale < 1,
        "tokenizer.decay_per_us": math.isfinite(tokenizer.decay_per_us) and tokenizer.decay_per_us >= 0,
        "embedding.buckets": 1 <= embedding.buckets <= 32,
        "embedding.time_scale_us": math.isfinite(embedding.time_scale_us) and embedding.time_scale_us > 0,
        "encoder.type": encoder.type == "transformer",
        "encoder.attention": encoder.attention in ("full", "causal"),
        "encoder.layers": encoder.layers >= 1,
        "encoder.intermediate": encoder.intermediate >= 1,
        "encoder.heads": encoder.heads >= 1 and encoder.hidden % encoder.heads == 0,
        "encoder.hidden": encoder.hidden == embedding.hidden >= 1,
        "tokens": 1 <= bundle.tokens <= 65535,
        "labels": len(bundle.labels) >= 1 and len(set(bundle.labels)) == len(bundle.labels),
        "hash": len(bundle.hash) == 64 and not set(bundle.hash) - set("0123456789abcdef"),
    }
    for name, good in checks.items():
        if not good:
            raise ValueError(f"{name} is out of range")


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
    wanted: Sequence[tuple[str, tuple[int, ...]]] = (
        ("weight", (bundle.embedding.hidden, bundle.cells)),
        ("bias", (bundle.embedding.hidden,)),
    )
    for name, shape in wanted:
        array = arrays.get(name)
        if array is None or array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
            raise InputError(f"{path}: '{name}' is not a finite float32 array of shape {shape}: {_REMEDY}")
    return arrays["weight"], arrays["bias"]
