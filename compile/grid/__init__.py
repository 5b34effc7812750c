"""What a detector computes on its grid of cells: fields, line by line, so that few lines of each are kept."""
