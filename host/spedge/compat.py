"""The published tokenizers' interface on ours (`spedge.tokens.compat`)."""

from spedge.tokens.compat import (
    ContinuousBatchTokenizer,
    ContinuousStreamingTokenizer,
    DiscreteBatchTokenizer,
    DiscreteStreamingTokenizer,
    Result,
    VoxelTokenizer,
)

__all__ = [
    "ContinuousBatchTokenizer",
    "ContinuousStreamingTokenizer",
    "DiscreteBatchTokenizer",
    "DiscreteStreamingTokenizer",
    "Result",
    "VoxelTokenizer",
]
