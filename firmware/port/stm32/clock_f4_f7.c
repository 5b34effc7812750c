/* Clocks of an STM32F405, an STM32F746 and their like: 168 or 216 MHz from the board's crystal, from the internal
 * oscillator without one. */
#include "clock.h"

#include "board.h"

#if defined(SP_STM32F4) || defined(SP_STM32F7)

#define RCC 0x40023800u
#define RCC_CR REG(RCC + 0x00)
#define RCC_CR_HSIRDY (1u << 1)
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
#define RCC_AHB2ENR (RCC + 0x34)
#define RCC_APB1ENR (RCC + 0x40)
#define RCC_APB2ENR (RCC + 0x44)
#define CLOCK_POLLS 100000u /* a crystal starts within some milliseconds; a flag that never comes must not stop us */

#define FLASH_ACR REG(0x40023c00u)
#if defined(SP_STM32F4)
#define MULTIPLIER 336u
#define PLL_Q 7u
#define FLASH_ACR_CACHED (5u | 1u << 8 | 1u << 9 | 1u << 10) /* 5 waits */
#else
#define MULTIPLIER 432u
#define PLL_Q 9u
#define FLASH_ACR_CACHED (7u | 1u << 8 | 1u << 9) /* 7 waits, prefetch, ART */

#define APB1_POWER (1u << 28)
#define PWR_CR1 REG(0x40007000u)
#define PWR_CSR1 REG(0x40007004u)
#define PWR_OVERDRIVE (1u << 16) /* in both: on, and ready */
#define PWR_OVERDRIVE_SWITCH (1u << 17)
#endif
#define PLL_HZ (MULTIPLIER * 1000000u / 2u)

#define INTERNAL_MHZ 16u

static uint32_t apb1 = INTERNAL_MHZ * 1000000u, apb2 = INTERNAL_MHZ * 1000000u;

static int wait_for(volatile uint32_t *reg, uint32_t mask, uint32_t value)
{
    for (uint32_t i = 0; i < CLOCK_POLLS; i++)
        if ((*reg & mask) == value)
            return 1;
    return 0;
}

/* Above 180 MHz the core's voltage has to be higher. */
static int raise_voltage(void)
{
#if defined(SP_STM32F7)
    volatile uint32_t *enable = &REG(RCC_APB1ENR);
    *enable |= APB1_POWER;
    (void)*enable;
    PWR_CR1 |= PWR_OVERDRIVE;
    if (!wait_for(&PWR_CSR1, PWR_OVERDRIVE, PWR_OVERDRIVE))
        return 0;
    PWR_CR1 |= PWR_OVERDRIVE_SWITCH;
    return wait_for(&PWR_CSR1, PWR_OVERDRIVE_SWITCH, PWR_OVERDRIVE_SWITCH);
#else
    return 1;
#endif
}

int clock_is_emulated(void)
{
#if defined(SP_STM32F4)
    return (RCC_CR & (RCC_CR_HSIRDY | RCC_CR_HSERDY)) == 0;
#else
    return 0; /* QEMU has no such chip */
#endif
}

void clock_start(void) /* to QEMU's UARTs all rates are one */
{
    const int emulated = clock_is_emulated();
    RCC_CR |= RCC_CR_HSEON;
    const int crystal = !emulated && wait_for(&RCC_CR, RCC_CR_HSERDY, RCC_CR_HSERDY);
    const uint32_t to_1_mhz = crystal ? BOARD_CRYSTAL_MHZ | RCC_PLLCFGR_HSE : INTERNAL_MHZ;
    RCC_PLLCFGR = to_1_mhz | MULTIPLIER << 6 | 0u << 16 | PLL_Q << 24; /* x MULTIPLIER / 2 */
    RCC_CR |= RCC_CR_PLLON;
    if (!emulated && !wait_for(&RCC_CR, RCC_CR_PLLRDY, RCC_CR_PLLRDY))
        return;
    if (!emulated && !raise_voltage())
        return;
    FLASH_ACR = FLASH_ACR_CACHED;
    RCC_CFGR = RCC_CFGR_PPRE1_4 | RCC_CFGR_PPRE2_2;
    RCC_CFGR = RCC_CFGR_PPRE1_4 | RCC_CFGR_PPRE2_2 | RCC_CFGR_SW_PLL;
    if (emulated || wait_for(&RCC_CFGR, RCC_CFGR_SWS, RCC_CFGR_SWS_PLL)) {
        apb1 = PLL_HZ / 4u;
        apb2 = PLL_HZ / 2u;
    } else {
        RCC_CFGR = 0;
    }
}

int clock_start_usb(void)
{
    if (apb2 != PLL_HZ / 2u)
        return 0; /* no PLL, which makes the 48 MHz, too */
    clock_open((clock_gate_t){RCC_AHB2ENR, 1u << 7});
    return 1;
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
