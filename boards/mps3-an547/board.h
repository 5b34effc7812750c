/* MPS3 with the AN547 image. */
#ifndef SP_BOARD_H_INCLUDED
#define SP_BOARD_H_INCLUDED

#include "sse300.h"

#endif
