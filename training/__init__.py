"""spedge.training: data sets, models, training and export (torch)."""
