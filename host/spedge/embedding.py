"""What a model sees of a token (`spedge.tokens.embedding`)."""

from spedge.tokens.embedding import (
    MAX_BUCKETS,
    MAX_PATCH_SIZE,
    Cells,
    embed,
    encoder_input,
    log_time_cells,
    log_time_volume,
    position_embedding,
)

__all__ = [
    "MAX_BUCKETS",
    "MAX_PATCH_SIZE",
    "Cells",
    "embed",
    "encoder_input",
    "log_time_cells",
    "log_time_volume",
    "position_embedding",
]
