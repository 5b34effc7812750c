/* Start-up of a Cortex-M4F, M7 or M55 on MPS2 and MPS3. The interrupts that only end a WFI have no handler: they stay
 * masked. */
#include "cortex_m_startup.h"

#include "board.h"

void camera_received(void); /* port_mps2.c */

void cortex_m_died(uint32_t at, uint32_t detail)
{
    (void)at;
    (void)detail; /* QEMU ends with its program */
}

CORTEX_M_VECTORS(fault_handler, 64, [UART1_RX_IRQ] = camera_received);
