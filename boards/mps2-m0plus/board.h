/* MPS2 with the AN386 image. */
#ifndef SP_BOARD_H_INCLUDED
#define SP_BOARD_H_INCLUDED

#include "cmsdk.h"

#endif
