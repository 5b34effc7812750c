"""Spiking Patches on the edge."""
