#include "end.h"

#include "board.h"
#include "port.h"

#define DIED 0xd1edd1edu

#define WATCHDOG_KEY REG(CHIP_WATCHDOG + 0x00)
#define WATCHDOG_KEY_START 0xccccu
#define WATCHDOG_KEY_UNLOCK 0x5555u
#define WATCHDOG_KEY_FEED 0xaaaau
#define WATCHDOG_DIVIDER REG(CHIP_WATCHDOG + 0x04)
#define WATCHDOG_DIVIDER_256 6u /* of an oscillator of about 32 kHz */
#define WATCHDOG_RELOAD REG(CHIP_WATCHDOG + 0x08)
#define WATCHDOG_RELOAD_MOST 0xfffu
#define WATCHDOG_STATUS REG(CHIP_WATCHDOG + 0x0c)
#define WATCHDOG_POLLS 100000u /* five periods of that oscillator, at any clock of the core */

static struct {
    uint32_t mark, at, detail;
} note __attribute__((section(".noinit")));

static port_end_t last;

void cortex_m_died(uint32_t at, uint32_t detail);

void cortex_m_died(uint32_t at, uint32_t detail)
{
    note.at = at;
    note.detail = detail;
    note.mark = DIED;
}

void end_recall(void)
{
    if (note.mark == DIED)
        last = (port_end_t){PORT_END_FAULT, note.at, note.detail};
    else if ((CHIP_RESET_FLAGS & CHIP_RESET_BY_WATCHDOG) != 0)
        last = (port_end_t){PORT_END_WATCHDOG, 0, 0};
    note.mark = 0;
    CHIP_RESET_FLAGS |= CHIP_RESET_FLAGS_CLEAR;
    CHIP_RESET_FLAGS &= ~CHIP_RESET_FLAGS_CLEAR;
}

port_end_t port_last_end(void)
{
    return last;
}

void watchdog_start(void)
{
    WATCHDOG_KEY = WATCHDOG_KEY_START;
    WATCHDOG_KEY = WATCHDOG_KEY_UNLOCK;
    WATCHDOG_DIVIDER = WATCHDOG_DIVIDER_256;
    WATCHDOG_RELOAD = WATCHDOG_RELOAD_MOST;
    for (uint32_t i = 0; i < WATCHDOG_POLLS && WATCHDOG_STATUS != 0; i++) {
    }
    watchdog_feed();
}

void watchdog_feed(void)
{
    WATCHDOG_KEY = WATCHDOG_KEY_FEED;
}
