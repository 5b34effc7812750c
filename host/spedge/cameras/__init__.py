"""Emulated cameras: recordings played at the camera port of a board, as a camera would send them."""

from spedge.cameras.edvs import Edvs
from spedge.cameras.emulated import PROTOCOLS, EmulatedCamera, heard, protocol_of
from spedge.events.formats import FORMATS

__all__ = ["FORMATS", "PROTOCOLS", "Edvs", "EmulatedCamera", "heard", "protocol_of"]
