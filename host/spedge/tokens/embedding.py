"""What a model sees of a token: log-time volume, token embedding, position embedding. All computed by the C library."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spedge import _embedding
from spedge.base.errors import UsageError
from spedge.tokens.tokenizer import Tokens

MAX_BUCKETS = 32
MAX_PATCH_SIZE = 2048


def log_time_volume(tokens: Tokens, patch_size: int = 16, buckets: int = 10) -> NDArray[np.uint16]:
    """Events of each token counted by polarity, age and pixel: uint16 [n, 2, buckets, patch_size, patch_size].

    The age is taken from the token's last event. Bucket 0 is below 1 ms, bucket k from 2^(k-1) ms to 2^k ms, the
    last bucket has no end. A count stops at 65535. Section "log-time volume" of arXiv 2510.26614.
    """
    _check_sizes(patch_size, buckets)
    return _embedding.volumes(tokens.events, tokens.offsets, patch_size, buckets)


class Cells(NamedTuple):
    """Cells of tokens' log-time volumes that hold events, about one in twenty.

    number: uint32 [m], in a token's volume of 2 * buckets * P * P, ascending within a token. events: uint16 [m], how
    many. bounds: int64 [n + 1]: token i has those from bounds[i] to bounds[i + 1].
    """

    number: NDArray[np.uint32]
    events: NDArray[np.uint16]
    bounds: NDArray[np.int64]


def log_time_cells(tokens: Tokens, patch_size: int = 16, buckets: int = 10) -> Cells:
    """`log_time_volume` without its empty cells, and without ever making them."""
    _check_sizes(patch_size, buckets)
    return Cells(*_embedding.cells(tokens.events, tokens.offsets, patch_size, buckets))


def embed(
    tokens: Tokens, weight: ArrayLike, bias: ArrayLike, patch_size: int = 16, buckets: int = 10
) -> NDArray[np.float32]:
    """Token embeddings without their positions: bias + weight @ log(1 + volume), float32 [n, hidden].

    weight: [hidden, 2 * buckets * patch_size * patch_size], bias: [hidden], as in a bundle's embedding.npz.
    Sparse: the cost follows the events. The device computes the same, in the same order.
    Raises UsageError when the shapes do not fit.
    """
    _check_sizes(patch_size, buckets)
    cells = 2 * buckets * patch_size**2
    w, b = np.asarray(weight, np.float32), np.ascontiguousarray(bias, np.float32)
    if b.ndim != 1 or not 3 <= len(b) <= 65535 or w.shape != (len(b), cells):
        raise UsageError(
            f"an embedding for patches of {patch_size} and {buckets} buckets has a weight of shape [hidden, {cells}] "
            f"and a bias of shape [hidden], hidden at least 3; these are {w.shape} and {b.shape}"
        )
    return _embedding.embed(tokens.events, tokens.offsets, np.ascontiguousarray(w.T), b, patch_size, buckets)


def position_embedding(
    columns: ArrayLike, rows: ArrayLike, t_us: ArrayLike, hidden: int, time_scale_us: float = 50_000.0
) -> NDArray[np.float32]:
    """Position embeddings, float32 [n, hidden]: sines and cosines of patch column, patch row and t / time_scale.

    columns, rows, t_us: [n], whole and not negative; t_us in µs, usually since the oldest token that the model sees.
    Angles are brought to one turn in integers before they are rounded, as on a device: within 1e-6 of the real sines
    for times of up to 10^12 µs with scales of 10^4 µs and more. time_scale_us counts as the float32 next to it.
    Raises UsageError for a wrong hidden, scale or shape, and for coordinates that are not whole.
    """
    x, y, t = (_whole(name, v) for name, v in (("columns", columns), ("rows", rows), ("t_us", t_us)))
    if not x.ndim == y.ndim == t.ndim == 1 or not len(x) == len(y) == len(t):
        raise UsageError(f"columns, rows and times must be of one length, not {x.shape}, {y.shape} and {t.shape}")
    if not 3 <= hidden <= 65535:
        raise UsageError(f"hidden={hidden} is out of range; it must be 3 to 65535")
    if not 0 < time_scale_us < float("inf"):
        raise UsageError(f"time_scale_us={time_scale_us} is out of range; it must be more than 0")
    return _embedding.positions(x, y, t, hidden, time_scale_us)


def positions_of(tokens: Tokens, time_scale_us: float) -> NDArray[np.float64]:
    """Where a window's tokens are: patch column, patch row, and time since the first in units of the scale.

    float64 [n, 3]: a window may last 10^12 µs, and float32 could not tell its times apart by then. The scale is the
    float32 next to time_scale_us, as on a device.
    """
    since = (tokens.t - tokens.t[:1]).astype(np.float64)
    return np.column_stack([tokens.x, tokens.y, since / np.float64(np.float32(time_scale_us))])


def encoder_input(
    tokens: Tokens,
    weight: ArrayLike,
    bias: ArrayLike,
    patch_size: int = 16,
    buckets: int = 10,
    time_scale_us: float = 50_000.0,
) -> NDArray[np.float32]:
    """What the encoder is given for a window of tokens: embeddings plus positions, float32 [n, hidden].

    Times count from the window's first token. Equal, bit for bit, to what sp_pipeline_window hands to a device's
    encoder where sin, cos, log and pow are equal.
    """
    embedded = embed(tokens, weight, bias, patch_size, buckets)
    since: NDArray[Any] = tokens.t - tokens.t[:1]
    return embedded + position_embedding(tokens.x, tokens.y, since, embedded.shape[1], time_scale_us)


def _whole(name: str, values: ArrayLike) -> NDArray[np.uint64]:
    array = np.asarray(values)
    if array.dtype.kind == "u":
        return np.ascontiguousarray(array, np.uint64)
    if array.dtype.kind not in "iuf" or not ((array >= 0) & (array < 2.0**63) & (array == np.floor(array))).all():
        raise UsageError(f"{name} must be whole numbers from 0, patches or µs")
    return np.ascontiguousarray(array, np.uint64)


def _check_sizes(patch_size: int, buckets: int) -> None:
    if not 1 <= patch_size <= MAX_PATCH_SIZE:
        raise UsageError(f"patch_size={patch_size} is out of range; it must be 1 to {MAX_PATCH_SIZE}")
    if not 1 <= buckets <= MAX_BUCKETS:
        raise UsageError(f"buckets={buckets} is out of range; it must be 1 to {MAX_BUCKETS}")
