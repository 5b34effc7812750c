/* What pico-sdk is told of the board: in its own build CMake writes this file. */
#if PICO_RP2040
#include "boards/pico.h"
#else
#include "boards/pico2.h"
#endif
