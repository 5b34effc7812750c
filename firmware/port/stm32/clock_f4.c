/* Clocks of an STM32F405 and its like: 168 MHz from the board's crystal, from the internal oscillator without one. */
#include "clock.h"

#include "board.h"

#if defined(SP_STM32F4)

#define RCC 0x40023800u
#define RCC_CR REG(RCC + 0x00)
#define RCC_CR_HSEON (1u << 16)
#define RCC_CR_HSERDY (1u << 17)
#define RCC_CR_PLLON (1u << 24)
#define RCC_CR_PLLRDY (1u << 25)
#define RCC_PLLCFGR REG(RCC + 0x04)
#define RCC_PLLCFGR_HSE (1u << 22)
#define RCC_CFGR REG(RCC + 0x08)
#define RCC_CFGR_SW_PLL 2u
#define RCC_CFGR_SWS (3u << 2)
#define RCC_CFGR_SWS_PLL (2u << 2)
#define RCC_CFGR_PPRE1_4 (5u << 10)
#define RCC_CFGR_PPRE2_2 (4u << 13)
#define RCC_AHB1ENR (RCC + 0x30)
#define RCC_APB1ENR (RCC + 0x40)
#define RCC_APB2ENR (RCC + 0x44)
#define CLOCK_POLLS 100000u /* a crystal starts within some milliseconds; a flag that never comes must not stop us */

#define FLASH_ACR REG(0x40023c00u)
#define FLASH_ACR_5_WAITS_CACHED (5u | 1u << 8 | 1u << 9 | 1u << 10)

#define INTERNAL_MHZ 16u

static uint32_t apb1 = INTERNAL_MHZ * 1000000u, apb2 = INTERNAL_MHZ * 1000000u;

static int wait_for(volatile uint32_t *reg, uint32_t mask, uint32_t value)
{
    for (uint32_t i = 0; i < CLOCK_POLLS; i++)
        if ((*reg & mask) == value)
            return 1;
    return 0;
}

void clock_start(int emulated) /* to QEMU's UARTs all rates are one */
{
    RCC_CR |= RCC_CR_HSEON;
    const int crystal = !emulated && wait_for(&RCC_CR, RCC_CR_HSERDY, RCC_CR_HSERDY);
    const uint32_t to_1_mhz = crystal ? BOARD_CRYSTAL_MHZ | RCC_PLLCFGR_HSE : INTERNAL_MHZ;
    RCC_PLLCFGR = to_1_mhz | 336u << 6 | 0u << 16 | 7u << 24; /* x 336 / 2 */
    RCC_CR |= RCC_CR_PLLON;
    if (!emulated && !wait_for(&RCC_CR, RCC_CR_PLLRDY, RCC_CR_PLLRDY))
        return;
    FLASH_ACR = FLASH_ACR_5_WAITS_CACHED;
    RCC_CFGR = RCC_CFGR_PPRE1_4 | RCC_CFGR_PPRE2_2;
    RCC_CFGR = RCC_CFGR_PPRE1_4 | RCC_CFGR_PPRE2_2 | RCC_CFGR_SW_PLL;
    if (emulated || wait_for(&RCC_CFGR, RCC_CFGR_SWS, RCC_CFGR_SWS_PLL)) {
        apb1 = 42000000u;
        apb2 = 84000000u;
    } else {
        RCC_CFGR = 0;
    }
}

/* A peripheral's bit is its place on its bus, of 1 KB each. */
void clock_enable(uint32_t peripheral)
{
    volatile uint32_t *reg = &REG(peripheral >= AHB1 ? RCC_AHB1ENR : peripheral >= APB2 ? RCC_APB2ENR : RCC_APB1ENR);
    *reg |= 1u << (peripheral & 0xffffu) / 0x400u;
    (void)*reg; /* the clock is there a little later */
}

uint32_t clock_of(uint32_t peripheral)
{
    return peripheral >= APB2 ? apb2 : apb1;
}

#endif
