"""What a model is: its description, its bundle on disk, and its reference on the host."""
