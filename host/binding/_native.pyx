# cython: language_level=3
"""The C library behind spedge. Use the classes and functions of spedge, spedge.embedding and spedge.evt2."""
from libspedge cimport sp_strerror


def strerror(int code) -> str:
    """The C library's sentence for one of its return codes."""
    return sp_strerror(code).decode()
