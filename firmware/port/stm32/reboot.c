/* The chip's number, and how it starts anew. Its bootloader is in a ROM, which is entered as after a reset: the wish
 * survives one in RAM that nobody clears. */
#include "board.h"
#include "clock.h"
#include "linked_image.h"
#include "port.h"
#include "second_link.h"
#include "usart.h"

#define BOOTLOADER_WANTED 0xb0071eadu
#define UNIQUE_ID_BYTES 12u

static uint32_t wish __attribute__((section(".noinit")));

void reboot_as_wished(void)
{
    const int wanted = wish == BOOTLOADER_WANTED;
    wish = 0;
    if (!wanted)
        return;
    SCB_VTOR = CHIP_BOOTLOADER;
    __asm volatile("dsb\n\t"
                   "isb\n\t"
                   "msr msp, %0\n\t"
                   "bx %1" ::"r"(REG(CHIP_BOOTLOADER)),
                   "r"(REG(CHIP_BOOTLOADER + 4u)));
}

size_t port_unique_id(uint8_t *out, size_t capacity)
{
    if (clock_is_emulated() || capacity < UNIQUE_ID_BYTES)
        return 0;
    for (uint32_t i = 0; i < UNIQUE_ID_BYTES; i++)
        out[i] = (uint8_t)(REG(CHIP_UNIQUE_ID + i / 4u * 4u) >> 8 * (i % 4u));
    return UNIQUE_ID_BYTES;
}

int port_can_reboot(uint8_t to)
{
    return to == 0 || (to == 1 && !clock_is_emulated());
}

void port_reboot(uint8_t to)
{
    usart_drain(BOARD_LINK_USART);
    second_link_leave();
    wish = to == 1 ? BOOTLOADER_WANTED : 0;
    __asm volatile("dsb" ::: "memory");
    SCB_AIRCR = SCB_AIRCR_RESET;
    for (;;) {
    }
}
