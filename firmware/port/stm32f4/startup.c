/* Start-up of an STM32F405. */
#include "cortex_m_startup.h"

void port_tick(void); /* port_stm32f4.c */
void port_link_received(void);
void port_camera_received(void);

CORTEX_M_VECTORS(port_tick, 82, [38] = port_link_received, [71] = port_camera_received);
