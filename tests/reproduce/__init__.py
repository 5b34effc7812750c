"""Figures that the documentation claims, made again from the data: a make target for each."""
