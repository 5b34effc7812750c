/* Start-up of an STM32. */
#include "cortex_m_startup.h"

#include "board.h"
#include "frames.h"

void port_tick(void);          /* counter.c */
void port_link_received(void); /* port_stm32.c */
void port_camera_received(void);

CORTEX_M_VECTORS(
    port_tick,
    CHIP_INTERRUPTS, [BOARD_LINK_IRQ] = port_link_received, [BOARD_CAMERA_IRQ] = port_camera_received FRAMES_VECTORS);
