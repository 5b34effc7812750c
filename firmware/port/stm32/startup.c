/* Start-up of an STM32. */
#include "cortex_m_startup.h"

#include "board.h"
#include "frames.h"
#include "second_link.h"

void port_tick(void);          /* counter.c */
void port_link_received(void); /* port_stm32.c */
void port_camera_received(void);

#if defined(BOARD_LINK_DMA)
#define DMA_VECTORS , [BOARD_LINK_DMA_IRQ] = port_link_received, [BOARD_CAMERA_DMA_IRQ] = port_camera_received
#else
#define DMA_VECTORS
#endif

CORTEX_M_VECTORS(port_tick, CHIP_INTERRUPTS, [BOARD_LINK_IRQ] = port_link_received,
                 [BOARD_CAMERA_IRQ] = port_camera_received DMA_VECTORS FRAMES_VECTORS SECOND_LINK_VECTORS);
