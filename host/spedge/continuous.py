"""Results that a device sends unasked, and what they should have been (`spedge.jobs.results`)."""

from spedge.jobs.results import (
    Expected,
    check_results,
    expected_results,
    result_difference,
    results_difference,
    stream_times,
    window_of,
)

__all__ = [
    "Expected",
    "check_results",
    "expected_results",
    "result_difference",
    "results_difference",
    "stream_times",
    "window_of",
]
