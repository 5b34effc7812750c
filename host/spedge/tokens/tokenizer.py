"""The tokenizer of Spiking Patches (arXiv 2510.26614): events in, tokens out. The same C runs on the devices."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from spedge import _host, _tokenizer
from spedge.base.errors import InputError
from spedge.events.arrays import (
    EVENT_DTYPE,
    Columns,
    check_events,
    check_pixels,
    columns,
    concatenate,
    empty_events,
    fields,
)
from spedge.tokens.settings import KINDS, TokenizerSettings

_MAX_TIME = 2**64 - 1
#: Tokens that a voxel tokenizer with threshold 0 makes of one push at most.
MAX_VOXELS = 2**28


@dataclass(frozen=True, eq=False)
class Tokens:
    """n tokens in the order in which they fired, with all their events.

    x, y: uint16 [n], patch column and row. t: uint64 [n], µs, the time of the event that made the token fire.
    offsets: int64 [n + 1]; token i owns events[offsets[i]:offsets[i + 1]]. events: EVENT_DTYPE, each token's in
    arrival order.
    """

    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    t: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    events: NDArray[np.void]

    def __len__(self) -> int:
        return len(self.t)

    @property
    def n(self) -> NDArray[np.int64]:
        """Events of each token, int64 [n]."""
        return np.diff(self.offsets)

    def events_of(self, index: int) -> NDArray[np.void]:
        """The events of one token, in arrival order."""
        index = range(len(self))[index]
        return self.events[self.offsets[index] : self.offsets[index + 1]]

    def last(self, count: int) -> Tokens:
        """The newest tokens, at most count."""
        return self.between(max(0, len(self) - count), len(self))

    def between(self, first: int, end: int) -> Tokens:
        """Those from number `first` to before `end`, 0 <= first <= end <= n."""
        x, y, t, offsets = self.x[first:end], self.y[first:end], self.t[first:end], self.offsets[first : end + 1]
        return Tokens(x, y, t, offsets - offsets[0], self.events[offsets[0] : offsets[-1]])

    @staticmethod
    def concatenate(parts: list[Tokens]) -> Tokens:
        """Tokens of consecutive pushes as one."""
        if not parts:
            return Tokens(
                np.empty(0, np.uint16),
                np.empty(0, np.uint16),
                np.empty(0, np.uint64),
                np.zeros(1, np.int64),
                empty_events(),
            )
        counts = np.concatenate([part.n for part in parts])
        return Tokens(
            np.concatenate([part.x for part in parts]),
            np.concatenate([part.y for part in parts]),
            np.concatenate([part.t for part in parts]),
            np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
            concatenate([part.events for part in parts]),
        )


#: What a push gives that makes no patch fire.
NO_TOKENS = Tokens.concatenate([])
NO_TOKENS.offsets.flags.writeable = False


@dataclass(frozen=True)
class TokenizerStats:
    """Where every event went since the start or reset().

    taken = in_tokens + pending + refractory + decayed + pool_lost + outside + backwards.
    """

    taken: int  #: events pushed
    in_tokens: int  #: handed out in tokens
    pending: int  #: waiting in patches that have not fired
    refractory: int  #: dropped by the absolute refractory period
    decayed: int  #: discarded by the method: potential fell to 0, older than duration_us, or in a voxel below threshold
    pool_lost: int  #: lost because the pool was full; only with pool_events
    outside: int  #: outside the sensor; push() refuses these, so 0 on the host
    backwards: int  #: older than the event before; push() refuses these, so 0 on the host
    tokens: int  #: fired
    pool_used: int  #: event slots in use now, in blocks of 16; without pool_events: events pending
    pool_peak: int  #: the most so far


class Tokenizer:
    """Groups the events of each patch of the sensor into tokens.

    kind: what makes a patch fire.
      "continuous", the paper's tokenizer: its potential reaches the threshold, as of a leaky integrate-and-fire neuron.
      "discrete": it holds `threshold` events of the last duration_us.
      "voxel": a baseline. Each push stands alone: its time is cut in bins of duration_us, and every patch that has at
      least `threshold` events in a bin is a token at the bin's start; with threshold 0 every patch, empty ones too.
    width, height: the sensor, pixels. patch_size: pixels, at least 1.
    threshold: continuous: > 0, an event adds 1; discrete: a whole number of events, at least 1; voxel: at least 0.
    absolute_refractory_us: after firing, how long a patch drops its events; not for voxels.
    duration_us: discrete and voxel, which need it.
    Continuous only:
    relative_refractory_us: after the absolute period, how long an event adds relative_scale (between 0 and 1), not 1.
    decay_per_us: what the potential loses per µs between two events of a patch.
    pool_events: memory for that many pending events, as on a device, in blocks of 16: when no block is free, the
      patch whose newest event is the oldest loses its events. None: memory grows as needed and nothing is lost.

    Streaming: cutting a stream into pieces changes nothing, but for voxels. One thread at a time; push() releases the
    GIL. Raises UsageError for a parameter that is out of range or means nothing to the kind.
    """

    def __init__(
        self,
        kind: str = "continuous",
        *,
        width: SupportsIndex,
        height: SupportsIndex,
        patch_size: SupportsIndex = 16,
        threshold: float = 256.0,
        absolute_refractory_us: SupportsIndex = 0,
        relative_refractory_us: SupportsIndex = 0,
        relative_scale: float = 0.4,
        decay_per_us: float = 0.0,
        duration_us: SupportsIndex | None = None,
        pool_events: SupportsIndex | None = None,
    ) -> None:
        self.config = TokenizerSettings.of(
            kind=kind,
            width=width,
            height=height,
            patch_size=patch_size,
            threshold=threshold,
            absolute_refractory_us=absolute_refractory_us,
            relative_refractory_us=relative_refractory_us,
            relative_scale=relative_scale,
            decay_per_us=decay_per_us,
            pool_events=pool_events,
            duration_us=duration_us,
        )
        self._native = _native_tokenizer(self.config)

    @classmethod
    def by(cls, settings: TokenizerSettings, pool_events: int | None = None) -> Tokenizer:
        """One of these settings, but for their pool_events: by default memory grows and nothing is lost."""
        return cls(**asdict(replace(settings, pool_events=pool_events)))

    def push(self, events: NDArray[Any] | Columns, *, sort: bool = False, end: bool = True) -> Tokens:
        """Feed events and get the tokens that fire.

        events: any one-dimensional structured array with the fields t (µs), x, y and p or on (0/1, bool or -1/+1), or
        Columns(t, x, y, p); sorted by t, also across pushes, and inside the sensor. Arrays of any strides with t of 8
        bytes, x and y of 2 and p of 1 or 2 are read where they are.
        sort: sort these events by time first; those of the same time keep their order. Across pushes they still have to
        be in order.
        end: of voxels with pool_events. False: the push does not stand alone, and its last bin goes on with the next,
        as on a device.
        Raises InputError naming the first wrong event; none of the events is taken then.
        """
        if sort:
            events = self._sorted(events)
        if isinstance(self._native, _tokenizer.Tokenizer):
            c = columns(events)
            check_events(c, self.config.width, self.config.height, self._native.last_t)
            _check_bins(self.config, c.t)
            return Tokens(*self._native.push(*c, end=end))
        try:
            fired = self._push(events)
        except _host.BadEvent as bad:
            checked = columns(events)  # these say what is wrong
            check_events(checked, self.config.width, self.config.height, self._native.last_t)
            raise InputError(f"event {bad.index} is not valid") from bad
        return NO_TOKENS if fired is None else Tokens(*fired)

    def _sorted(self, events: NDArray[Any] | Columns) -> Columns:
        """In order of time, checked before: a wrong event is named by its place in what the caller gave."""
        c = columns(events)
        check_pixels(c, self.config.width, self.config.height)
        last_t = self._native.last_t
        if len(c.t) and int(c.t.min()) < last_t:
            at = int(np.argmin(c.t))
            raise InputError(
                f"event {at} is at t={c.t[at]} µs, before the events of the push ahead of it, up to t={last_t} µs: "
                "reset() before another recording"
            )
        order = np.argsort(c.t, kind="stable")
        return Columns(*(values[order] for values in c))

    def _push(self, events: NDArray[Any] | Columns) -> _host.Fired | None:
        """Read the events where they are, or else as what columns makes of them."""
        native = self._native
        if (
            isinstance(native, _host.Tokenizer)
            and isinstance(events, np.ndarray)
            and not isinstance(events, np.ma.MaskedArray)
            and events.dtype == EVENT_DTYPE
            and events.ndim == 1
        ):
            return native.push_records(events)
        try:
            return native.push(*(events if isinstance(events, Columns) else fields(events)))
        except (TypeError, ValueError, OverflowError, BufferError):
            return native.push(*columns(events))

    def reset(self) -> None:
        """Forget all state and counts, ready for another recording."""
        self._native.reset()

    @property
    def stats(self) -> TokenizerStats:
        """Where the events went."""
        return TokenizerStats(**{"pool_lost": 0, "outside": 0, "backwards": 0, **self._native.stats()})

    def __repr__(self) -> str:
        return f"Tokenizer({self.config})"


def _native_tokenizer(c: TokenizerSettings) -> _host.Tokenizer | _tokenizer.Tokenizer | _Voxels:
    """The host's own tokenizer, or, where the memory is limited, the devices'."""
    parameters = (c.threshold, c.absolute_refractory_us, c.relative_refractory_us, c.relative_scale, c.decay_per_us)
    duration = c.duration_us or 0
    if c.pool_events is not None:
        kind = KINDS.index(c.kind)
        return _tokenizer.Tokenizer(c.width, c.height, c.patch_size, *parameters, c.pool_events, kind, duration)
    if c.kind == "voxel":
        return _Voxels(c)
    return _host.Tokenizer(c.width, c.height, c.patch_size, c.kind == "discrete", *parameters, duration)


class _Voxels:
    """The voxel tokenizer with the interface of the others; only its counts outlive a push."""

    last_t = 0

    def __init__(self, config: TokenizerSettings) -> None:
        self._config = config
        self._duration = config.duration_us or 1
        self.reset()

    def push(self, t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any]) -> _host.Fired:
        c = self._config
        threshold = int(c.threshold)
        _check_bins(c, t)
        tx, ty, tt, offsets, events, discarded = _host.voxels(
            t, x, y, p, c.width, c.height, c.patch_size, threshold, self._duration
        )
        self._taken += len(t)
        self._discarded += discarded
        self._tokens += len(tt)
        return tx, ty, tt, offsets, events

    def reset(self) -> None:
        self._taken = self._discarded = self._tokens = 0

    def stats(self) -> dict[str, int]:
        return {
            "taken": self._taken,
            "in_tokens": self._taken - self._discarded,
            "pending": 0,
            "refractory": 0,
            "decayed": self._discarded,
            "tokens": self._tokens,
            "pool_used": 0,
            "pool_peak": 0,
        }


def _check_bins(c: TokenizerSettings, t: NDArray[Any]) -> None:
    """Of voxels: the bins' times have to be sayable, and the empty ones to fit in memory."""
    if c.kind != "voxel" or not c.duration_us or not len(t):
        return
    first, last = int(t[0]), int(t[-1])
    if last // c.duration_us >= _MAX_TIME // c.duration_us:
        raise InputError(f"t={last} µs is too late for bins of {c.duration_us} µs: shift the times towards 0")
    bins = -(-last // c.duration_us) - first // c.duration_us + 1
    voxels = bins * c.columns * c.rows
    if c.threshold == 0 and voxels > MAX_VOXELS:
        raise InputError(
            f"the events span {bins} bins of {c.duration_us} µs, and with threshold 0 that is {voxels} tokens: "
            "choose a longer duration_us or threshold 1, or push shorter pieces"
        )
