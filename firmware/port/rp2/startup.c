/* Start-up of an RP2040 or RP2350. */
#include "cortex_m_startup.h"

#include "usb_cdc.h"

#include <hardware/regs/intctrl.h>
#include <pico.h>

void port_tick(void); /* port_rp2.c */

CORTEX_M_VECTORS(port_tick, NUM_IRQS, [USBCTRL_IRQ] = usb_cdc_interrupt);

#if !PICO_RP2040
/* By this the RP2350's ROM knows a program for its Cortex-M33, secure; it starts it by the vectors in front. */
#include <boot/picobin.h>

static const uint32_t image_definition[] __attribute__((section(".image_definition"), used)) = {
    PICOBIN_BLOCK_MARKER_START,
    PICOBIN_BLOCK_ITEM_1BS_IMAGE_TYPE | 1u << 8 |
        (PICOBIN_IMAGE_TYPE_IMAGE_TYPE_AS_BITS(EXE) | PICOBIN_IMAGE_TYPE_EXE_SECURITY_AS_BITS(S) |
         PICOBIN_IMAGE_TYPE_EXE_CPU_AS_BITS(ARM) | PICOBIN_IMAGE_TYPE_EXE_CHIP_AS_BITS(RP2350))
            << 16,
    PICOBIN_BLOCK_ITEM_2BS_LAST | 1u << 8, /* words of all items */
    0,                                     /* the only block: the next one is itself */
    PICOBIN_BLOCK_MARKER_END,
};
#endif
