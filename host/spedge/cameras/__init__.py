"""Emulated cameras: recordings played at the camera port of a board, as a camera would send them."""

from spedge.cameras.edvs import Edvs
from spedge.cameras.emulated import PROTOCOLS, EmulatedCamera

__all__ = ["PROTOCOLS", "Edvs", "EmulatedCamera"]
