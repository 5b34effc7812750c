"""Trainings in processes of their own that are ended by SIGKILL at a chosen place.

They are forked from a process that has loaded torch and Lightning once, which takes them seconds.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spedge.training.data.base import Description, Sample
from spedge.training.presets import PRESETS
from spedge.training.presets.base import SIZES, Preset, transformer

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["tests.fit_runs", "spedge.cli", "spedge.training.fit.fitting", "spedge.training.export"]
)

#: Where a training can be ended: what is called there (by any of some names), and whether it has begun to write.
PLACES = {
    "before a batch": ("module.Fit.on_train_batch_start", "at"),
    "before a step": ("module.Fit.on_before_optimizer_step", "at"),
    "after a batch": ("module.Fit.count", "after"),
    "while it looks": ("classifying.vote detecting.mean_average_precision", "at"),
    "before a checkpoint": ("state.State.save", "at"),
    "in a checkpoint": ("state.save", "half"),
    "before the curves": ("curves.Curves.flush", "at"),
    "after the curves": ("curves.Curves.flush", "after"),
}


class Made:
    """A tiny data set of the given sensor: each class is a blob at a place of its own."""

    def __init__(self, classes: int, side: int = 128, slices: int = 2) -> None:
        self.about = Description("made", "made", PRESETS["DG-T-SP"].spec().sensor, tuple(map(str, range(classes))), ())
        self.samples = []
        for number in range(classes):
            random = np.random.default_rng(number)
            label, n = number % classes, 1500
            events = np.zeros(n, [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
            events["t"] = np.sort(random.integers(0, 900_000, n))
            events["x"] = np.clip(random.normal(20 + 8 * label, 6, n), 0, side - 1)
            events["y"] = np.clip(random.normal(64, 12, n), 0, side - 1)
            events["p"] = random.integers(0, 2, n)
            self.samples.append(Sample(events, label, f"{number}", f"group{number // slices}"))


def small(name: str) -> Preset:
    """A preset with nano's transformer in the place of base's."""
    preset = PRESETS[name]
    if "-T-" not in name:
        return preset
    nano: Any = transformer("nano")
    seen: Any = preset.representation
    seen = replace(seen, embedding=replace(seen.embedding, hidden=SIZES["nano"][0]))
    return replace(preset, model=nano, representation=seen)


def fit_made(name: str, folder: Path | None, accelerator: str = "cpu", **recipe: Any) -> Any:
    """Fit a preset to a made-up data set; what `fit` gives."""
    from spedge.training.fit.classifying import Classifying
    from spedge.training.fit.fitting import Plan, fit
    from spedge.training.fit.machine import Machine, place_of

    preset = small(name)
    chosen = replace(preset.recipe, **recipe)
    spec = preset.spec()
    made = Made(len(spec.labels))
    document = {"schema": 1, "preset": name}

    def work(place: Any) -> Classifying:
        return Classifying(spec, chosen, made.about, made.samples, made.samples[:4], 0, place.rank, place.processes)

    plan = Plan(spec, chosen, work, 0, folder=folder, document=document)
    return fit(plan, place_of(Machine(accelerator), chosen.precision), None, time.process_time())


class Run:
    """A process that does `work`, which returns its exit code. said: what it wrote to stderr, once it has ended."""

    def __init__(
        self, work: Callable[[], Any], log: Path, strike: tuple[str, int] | None, environment: Mapping[str, str]
    ) -> None:
        self._log = log
        self._process = _CONTEXT.Process(target=_child, args=(work, log, strike, dict(environment)))
        self._process.start()

    def code(self, seconds: float = 200) -> int:
        """How it ended: -9 by SIGKILL."""
        self._process.join(seconds)
        if self._process.exitcode is None:
            self._process.kill()
            raise AssertionError(f"it did not end in {seconds} s: {self.said}")
        return self._process.exitcode

    @property
    def said(self) -> str:
        return self._log.read_text()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)


def start(
    work: Callable[[], Any],
    log: Path,
    strike: tuple[str, int] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """A process that is ended when it comes to one of PLACES for the nth time."""
    return Run(work, log, strike, environment or {})


def start_ranks(
    works: Iterable[Callable[[], Any]],
    logs: Path,
    strikes: Mapping[int, tuple[str, int]] | None = None,
    nodes: bool = False,
) -> list[Run]:
    """The processes of one training, as a launcher starts them: on one machine, or each on a machine of its own."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(listening.getsockname()[1])}
    runs = []
    for rank, work in enumerate(works):
        own = {"NODE_RANK": str(rank), "LOCAL_RANK": "0"} if nodes else {"LOCAL_RANK": str(rank)}
        runs.append(start(work, logs.with_suffix(f".{rank}"), (strikes or {}).get(rank), {**common, **own}))
    return runs


def _child(work: Callable[[], Any], log: Path, strike: tuple[str, int] | None, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    multiprocessing.set_start_method("fork", force=True)  # of loaders' workers, which would load torch again
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    torch.set_num_threads(1)  # others are at work here
    if strike is not None:
        _arm(*strike)
    code = work()
    raise SystemExit(code if isinstance(code, int) else 0)


def _arm(place: str, count: int) -> None:
    """End this process when it comes to that place for the nth time."""
    paths, when = PLACES[place]
    left = count

    def armed(real: Any) -> Any:
        def struck(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0 and when == "half":
                whole = io.BytesIO()
                torch.save(arguments[0], whole)
                path = arguments[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.with_name(path.name + ".part").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            if left == 0 and when == "at":
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*arguments, **options)
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return struck

    for path in paths.split():
        module, *names, name = path.split(".")
        owner: Any = import_module(f"spedge.training.fit.{module}")
        for inner in names:
            owner = getattr(owner, inner)
        setattr(owner, name, armed(getattr(owner, name)))
