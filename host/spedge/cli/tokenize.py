"""spedge tokenize: a recording to tokens, with any parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.cli.common import (
    AbsoluteRefractoryOption,
    DecayOption,
    DurationOption,
    JsonOption,
    KindOption,
    PatchSizeOption,
    RelativeRefractoryOption,
    RelativeScaleOption,
    ThresholdOption,
    print_json,
    print_pairs,
    progress,
)
from spedge.cli.reading import reads

if TYPE_CHECKING:
    from spedge.recordings import Reading, Recording
    from spedge.recordings.base import UntilCut
    from spedge.tokens.tokenizer import Tokenizer


@reads
def command(
    recording: Annotated[Path, typer.Argument(metavar="RECORDING")],
    kind: KindOption = "continuous",
    patch_size: PatchSizeOption = 16,
    threshold: ThresholdOption = 256.0,
    absolute_refractory_us: AbsoluteRefractoryOption = 0,
    relative_refractory_us: RelativeRefractoryOption = 0,
    relative_scale: RelativeScaleOption = 0.4,
    decay_per_us: DecayOption = 0.0,
    duration_us: DurationOption = None,
    pool_events: Annotated[int | None, typer.Option(help="Memory for pending events, as on a device.")] = None,
    *,
    reading: Reading,
    out: Annotated[Path | None, typer.Option(help="Write the tokens and their events here (.npz).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make tokens of a recording and say how many, or keep them.

    A recording that is cut off is tokenized up to there, and the exit code is 4.
    With --out, the file holds x and y (patch column and row), t (us), offsets, and the events of all tokens as event_t,
    event_x, event_y and event_p: those of token i begin at its offset and end at the next one.
    """
    from spedge.base.errors import UsageError
    from spedge.recordings.base import UntilCut
    from spedge.tokens.tokenizer import Tokenizer

    if out is not None and out.suffix != ".npz":
        raise UsageError(f"--out {out}: tokens are written as .npz")
    opened = reading.open(recording)
    tokenizer = Tokenizer(
        kind,
        width=opened.width,
        height=opened.height,
        patch_size=patch_size,
        threshold=threshold,
        absolute_refractory_us=absolute_refractory_us,
        relative_refractory_us=relative_refractory_us,
        relative_scale=relative_scale,
        decay_per_us=decay_per_us,
        duration_us=duration_us,
        pool_events=pool_events,
    )
    chunks = UntilCut(opened)
    fired = _tokenize(opened.path.name, chunks, tokenizer, out)
    document = _document(opened, tokenizer, fired, out)
    if as_json:
        print_json(document)
    else:
        parameters, fates = document.pop("parameters"), document.pop("events_by_fate")
        left_out = {f"left out, {name}": count for name, count in document.pop("left_out").items()}
        print_pairs({**document, **fates, **left_out, **parameters})
    chunks.end(out, "the tokens of the events")


def _tokenize(name: str, recording: UntilCut, tokenizer: Tokenizer, out: Path | None) -> list[int]:
    """The times of the first and the last token, if there are any."""
    from contextlib import ExitStack

    from spedge.base.files import whole
    from spedge.recordings.token_files import TokenWriter, tokenize_recording

    fired: list[int] = []
    with ExitStack() as stack:
        writer = stack.enter_context(TokenWriter(stack.enter_context(whole(out)))) if out is not None else None
        say = stack.enter_context(progress(f"Tokenizing {name}"))
        for tokens in tokenize_recording(recording, tokenizer):
            if writer is not None:
                writer.write(tokens)
            if len(tokens):
                fired = [*(fired[:1] or [int(tokens.t[0])]), int(tokens.t[-1])]
            say(f"Tokenizing {name}: {tokenizer.stats.taken:,} events, {tokenizer.stats.tokens:,} tokens")
        recording.finish(out, tokenizer.stats.taken)
    return fired


def _document(recording: Recording, tokenizer: Tokenizer, fired: list[int], out: Path | None) -> dict[str, Any]:
    from dataclasses import asdict

    stats = tokenizer.stats
    fates = ("in_tokens", "pending", "refractory", "decayed", "pool_lost")
    return {
        "path": str(recording.path),
        "parameters": asdict(tokenizer.config),
        "events": stats.taken,
        "events_by_fate": {name: getattr(stats, name) for name in fates},
        "left_out": dict(recording.left_out),
        "tokens": stats.tokens,
        "first_us": fired[0] if fired else None,
        "last_us": fired[-1] if fired else None,
        "out": str(out) if out else None,
    }
