"""What a compiled model costs, kernel by kernel, and the search for parameters that cost less."""
