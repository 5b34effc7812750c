"""What a tokenizer is made with: the same on the host, on a device, and in a model's description."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spedge.base.errors import UsageError
from spedge.base.parameters import real_number, whole_number

#: Numbered as in tokenizer.h and on the link.
KINDS = ("continuous", "discrete", "voxel")
#: The most columns or rows of pixels one patch may span on the sensor.
MAX_PATCH_SPAN = 2048
MAX_THRESHOLD = 2**31 - 1
MAX_POOL_EVENTS = 2**31 - 32  # SP_POOL_EVENTS_MAX
_MAX_PERIOD_US = 2**63 - 1


@dataclass(frozen=True)
class TokenizerSettings:
    """The parameters of `spedge.Tokenizer`, which says what they mean. Times in µs, sizes in pixels.

    Nothing is checked when one is made; `checked` does it. kind: one of KINDS. duration_us: None for the continuous
    tokenizer, which has none. pool_events: None for as many as needed, or, on a device, as many as fit.
    """

    width: int = 0
    height: int = 0
    patch_size: int = 16
    threshold: float = 256.0
    absolute_refractory_us: int = 0
    relative_refractory_us: int = 0
    relative_scale: float = 0.4
    decay_per_us: float = 0.0
    kind: str = "continuous"
    duration_us: int | None = None
    pool_events: int | None = None

    @property
    def columns(self) -> int:
        """Patches in a row."""
        return -(-self.width // self.patch_size)

    @property
    def rows(self) -> int:
        """Patches in a column."""
        return -(-self.height // self.patch_size)

    @staticmethod
    def of(**parameters: Any) -> TokenizerSettings:
        """Settings from whatever numbers a caller has, numpy's among them. Raises UsageError as `checked` does."""
        return TokenizerSettings(**parameters).checked()

    def checked(self) -> TokenizerSettings:
        """The same as plain numbers. Raises UsageError for what is out of range or means nothing to the kind."""
        if self.kind not in KINDS:
            raise UsageError(f"there is no tokenizer kind {self.kind!r}; use one of {', '.join(map(repr, KINDS))}")
        good = replace(
            self,
            width=whole_number("width", self.width, 1, 65535),
            height=whole_number("height", self.height, 1, 65535),
            patch_size=whole_number("patch_size", self.patch_size, 1, 65535),
            threshold=self._threshold(),
            absolute_refractory_us=self._period("absolute_refractory_us"),
            relative_refractory_us=self._period("relative_refractory_us"),
            relative_scale=real_number("relative_scale", self.relative_scale, 0, 1, with_high=False),
            decay_per_us=real_number("decay_per_us", self.decay_per_us, 0, 1e300, with_low=True),
            duration_us=self._duration(),
            pool_events=None
            if self.pool_events is None
            else whole_number("pool_events", self.pool_events, 1, MAX_POOL_EVENTS),
        )
        good._check_meaning()
        if min(good.patch_size, max(good.width, good.height)) > MAX_PATCH_SPAN:
            raise UsageError(f"patch_size={good.patch_size} is too large; a patch may span {MAX_PATCH_SPAN} pixels")
        return good

    def _period(self, name: str) -> int:
        return whole_number(name, getattr(self, name), 0, _MAX_PERIOD_US)

    def _threshold(self) -> float:
        """Of the continuous tokenizer any number, of the others a whole one, as int or as float."""
        if self.kind == "continuous":
            return real_number("threshold", self.threshold, 0, MAX_THRESHOLD)
        value = self.threshold
        if isinstance(value, float | np.floating) and value.is_integer():
            value = int(value)
        return float(whole_number("threshold", value, int(self.kind == "discrete"), MAX_THRESHOLD))  # type: ignore[arg-type]

    def _duration(self) -> int | None:
        if self.kind == "continuous":
            if self.duration_us is not None:
                raise UsageError("duration_us means nothing to the continuous tokenizer")
            return None
        if self.duration_us is None:
            raise UsageError(f"the {self.kind} tokenizer needs duration_us")
        return whole_number("duration_us", self.duration_us, int(self.kind == "voxel"), _MAX_PERIOD_US)

    def _check_meaning(self) -> None:
        """Refuse parameters of another kind."""
        wrong = []
        if self.kind != "continuous":
            wrong += [name for name in ("relative_refractory_us", "decay_per_us") if getattr(self, name)]
        if self.kind == "voxel":
            wrong += ["absolute_refractory_us"] if self.absolute_refractory_us else []
        if wrong:
            raise UsageError(f"{wrong[0]} means nothing to the {self.kind} tokenizer")
