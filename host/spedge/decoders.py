"""Streaming decoders of camera formats, from bytes to events (`spedge.events.decoders`)."""

from spedge.events.decoders import (
    FORMATS,
    Decoder,
    DecodeStats,
    EdvsDecoder,
    Evt2Decoder,
    Evt3Decoder,
    Evt21Decoder,
)

__all__ = ["FORMATS", "DecodeStats", "Decoder", "EdvsDecoder", "Evt2Decoder", "Evt3Decoder", "Evt21Decoder"]
