/* Start-up of a Cortex-M4F or M7 on MPS2. The interrupts that only end a WFI have no handler: they stay masked. */
#include "cortex_m_startup.h"

void camera_received(void); /* port_mps2.c */

CORTEX_M_VECTORS(fault_handler, 32, [2] = camera_received);
