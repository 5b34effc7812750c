# What _native.pyx uses of firmware/lib.
cdef extern from "spedge/error.h" nogil:
    const char *sp_strerror(int code)
