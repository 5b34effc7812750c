"""What a verb of the command line does: one function with a dataclass for its answer."""
