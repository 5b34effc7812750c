"""Events: arrays of them, and the words that cameras say them in."""

from spedge.events.arrays import EVENT_DTYPE, Columns, as_events, concatenate, empty_events

__all__ = ["EVENT_DTYPE", "Columns", "as_events", "concatenate", "empty_events"]
