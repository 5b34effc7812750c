#include "end.h"

#include "cortex_m.h"
#include "linked_image.h"
#include "port.h"
#include "usb_cdc.h"

#include <hardware/flash.h>
#include <hardware/watchdog.h>
#include <pico/bootrom.h>

#define DIED 0xd1edd1edu
#define DIED_MARK watchdog_hw->scratch[0] /* pico-sdk and the bootloader use the upper four */
#define DIED_AT watchdog_hw->scratch[1]
#define DIED_DETAIL watchdog_hw->scratch[2]
#define HARDWARE_MS 8000u
#define TICKS_UNFED 450u /* a minute, of 134 ms each; 50 s on an RP2350 */
#define ID_BYTES 8u
#define POLLS 10000000u /* of the link: a second and more */
#define REBOOT_MS 10u

extern uint32_t link_stack_bottom[]; /* linker script */

static port_end_t last;
static uint8_t id[ID_BYTES];
static volatile uint32_t unfed;

void end_guard_stack(void)
{
#if PICO_RP2040
    MPU_RNR = 0;
    MPU_RBAR = (uint32_t)link_stack_bottom;
    MPU_RASR = MPU_RASR_NEVER | MPU_RASR_BITS(8);
    MPU_CTRL = MPU_CTRL_ON_WITH_DEFAULT;
    __asm volatile("dsb\n\tisb" ::: "memory");
#else
    __asm volatile("msr msplim, %0" ::"r"(link_stack_bottom));
#endif
}

void cortex_m_died(uint32_t at, uint32_t detail)
{
    DIED_AT = at;
    DIED_DETAIL = detail;
    DIED_MARK = DIED;
    watchdog_reboot(0, 0, 1);
    for (;;) {
    }
}

void end_recall(void)
{
    if (DIED_MARK == DIED)
        last = (port_end_t){PORT_END_FAULT, DIED_AT, DIED_DETAIL};
    else if (watchdog_enable_caused_reboot())
        last = (port_end_t){PORT_END_WATCHDOG, 0, 0};
    DIED_MARK = 0;
}

port_end_t port_last_end(void)
{
    return last;
}

void watchdog_begin(void)
{
    watchdog_enable(HARDWARE_MS, false);
}

void watchdog_feed(void)
{
    unfed = 0;
}

void watchdog_tick(void)
{
    if (unfed < TICKS_UNFED) {
        unfed++;
        watchdog_update();
    }
}

void end_find_id(void)
{
#if PICO_RP2040
    flash_get_unique_id(id);
#else
    uint32_t told[4]; /* what was told, the package, the number */
    rom_get_sys_info_fn ask = (rom_get_sys_info_fn)rom_func_lookup_inline(ROM_FUNC_GET_SYS_INFO);
    if (ask(told, 4, SYS_INFO_CHIP_INFO) != 4)
        return;
    for (uint32_t i = 0; i < ID_BYTES; i++) /* as pico-sdk has it: the last byte first */
        id[i] = (uint8_t)(told[3u - i / 4u] >> (24u - 8u * (i % 4u)));
#endif
}

size_t port_unique_id(uint8_t *out, size_t capacity)
{
    if (capacity < ID_BYTES)
        return 0;
    for (uint32_t i = 0; i < ID_BYTES; i++)
        out[i] = id[i];
    return ID_BYTES;
}

int port_can_reboot(uint8_t to)
{
    return to <= 1;
}

void port_reboot(uint8_t to)
{
    for (uint32_t i = 0; i < POLLS && !usb_cdc_is_drained(); i++)
        watchdog_feed();
    usb_cdc_leave();
    if (to == 1) {
        watchdog_disable(); /* else it ends the bootloader, too */
        rom_reset_usb_boot(0, 0);
    }
    watchdog_reboot(0, 0, REBOOT_MS);
    for (;;) {
    }
}
