"""Weights that others trained: read without running what a file says, and put in the place of a model's of ours."""
