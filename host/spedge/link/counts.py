"""What a device counts of its stream: where it stands, where events were lost, where every word went."""

from __future__ import annotations

from dataclasses import dataclass

from spedge.link.frames import Reader


@dataclass(frozen=True)
class Status:
    """Where the stream stands.

    next_seq: the EVENTS frame expected next; credits: further frames that fit; queued: bytes accepted and not yet
    processed; events: taken by the tokenizer; lost: events that were lost for any reason but the method's own;
    tokens: fired; unread: tokens kept for TOKENS.
    """

    next_seq: int
    credits: int
    queued: int
    events: int
    lost: int
    tokens: int
    unread: int

    LAYOUT = "HHIQQII"

    @classmethod
    def take(cls, reader: Reader) -> Status:
        return cls(*reader.take(cls.LAYOUT))

    @classmethod
    def unpack(cls, payload: bytes) -> Status:
        return cls.take(Reader(payload, "status"))


@dataclass(frozen=True)
class Loss:
    """Where events were lost since the session began. Once nothing is queued, offered = accepted + lost.

    offered: events that the source had, as far as is known. sensor: bytes (not events, in no sum) that the camera
    port's receiver lost; link: events thinned by the host or lost on the link; thinned: of the camera, left out by the
    device; decoder: without a time, outside the sensor, backwards in time, and words of unknown types; pool: lost to a
    full pool. since, until: stream time, µs, of the first and last loss since the result before, 0 without any.
    results_dropped: results that were overwritten before they were read or sent.
    """

    offered: int = 0
    sensor: int = 0
    link: int = 0
    thinned: int = 0
    decoder: int = 0
    pool: int = 0
    since: int = 0
    until: int = 0
    results_dropped: int = 0

    LAYOUT = "9Q"

    @property
    def lost(self) -> int:
        """Events lost, for whatever reason."""
        return self.link + self.thinned + self.decoder + self.pool

    @property
    def by_cause(self) -> dict[str, int]:
        """Events lost, by cause, and under "sensor" bytes."""
        return {name: getattr(self, name) for name in ("sensor", "link", "thinned", "decoder", "pool")}

    @classmethod
    def take(cls, reader: Reader) -> Loss:
        return cls(*reader.take(cls.LAYOUT))


@dataclass(frozen=True)
class Stats:
    """Reply to STATS: where every word and event went, what the link saw, what memory holds. See SPEC.md."""

    status: Status
    words: int
    events: int
    times: int
    triggers: int
    other: int
    unknown: int
    untimed: int
    addresses: int
    vectors: int
    vector_events: int
    decoder_outside: int
    clipped: int
    skipped: int
    taken: int
    in_tokens: int
    pending: int
    refractory: int
    decayed: int
    pool_lost: int
    outside: int
    backwards: int
    tokens: int
    frames: int
    corrupted: int
    oversized: int
    truncated: int
    repeated: int
    refused: int
    cost_tokenize: int
    cost_embed: int
    pool_used: int
    pool_peak: int
    pool_events: int
    arena_bytes: int
    memory_used: int
    memory_bytes: int
    results: int
    results_kept: int
    tokens_left_out: int
    steps_left_out: int
    loss: Loss

    @classmethod
    def unpack(cls, payload: bytes) -> Stats:
        reader = Reader(payload, "STATS reply")
        values = (Status.take(reader), *reader.take("30Q10I"), Loss.take(reader))
        return cls(*values)

    @property
    def dropped(self) -> dict[str, int]:
        """Events in no token and not pending, by cause."""
        causes = ("untimed", "refractory", "decayed", "pool_lost", "outside", "backwards")
        return {cause: getattr(self, cause) for cause in causes}

    @property
    def accepted(self) -> int:
        """Events that reached their patch: those that the tokenizer took and did not lose."""
        return self.taken - self.pool_lost - self.outside - self.backwards

    def imbalance(self, sent: int | None = None) -> str | None:
        """None when every event is accounted for, else a sentence that says which are not.

        sent: event words sent in lossless mode, events offered in live mode; None where only the device knows.
        Holds when nothing is queued any more.
        """
        single = self.events + self.decoder_outside + self.clipped - self.vector_events
        words = single + self.vectors + self.addresses + self.times + self.triggers
        words += self.other + self.unknown + self.untimed
        if self.words != words:
            return f"of {self.words} words the decoder accounts for {words}"
        if self.events != self.taken + self.loss.thinned:
            return (
                f"the decoder made {self.events} events, {self.loss.thinned} were thinned out and the tokenizer "
                f"took {self.taken}"
            )
        if sent is not None and sent != self.loss.offered - self.unknown:
            return f"{sent} events were sent and the device knows of {self.loss.offered - self.unknown}"
        if self.accepted != self.in_tokens + self.pending + self.refractory + self.decayed:
            return (
                f"{self.accepted} events were accepted, {self.in_tokens} are in tokens, {self.pending} pending and "
                f"{self.refractory + self.decayed} dropped by the method"
            )
        if self.loss.offered != self.accepted + self.loss.lost:
            return f"of {self.loss.offered} events {self.accepted} were accepted and {self.loss.lost} lost"
        return None
