/* Clocks of an STM32H743 and its like: 400 MHz from the board's crystal or clock, from the internal oscillator without
 * one; the buses at 200 MHz, those of peripherals at 100 MHz. */
#include "clock.h"

#include "board.h"

#if defined(SP_STM32H7)

#define RCC 0x58024400u
#define RCC_CR REG(RCC + 0x00)
#define RCC_CR_HSEON (1u << 16)
#define RCC_CR_HSERDY (1u << 17)
#define RCC_CR_HSEBYP (1u << 18)
#define RCC_CR_PLL1ON (1u << 24)
#define RCC_CR_PLL1RDY (1u << 25)
#define RCC_CR_PLL3ON (1u << 28)
#define RCC_CR_PLL3RDY (1u << 29)
#define RCC_CFGR REG(RCC + 0x10)
#define RCC_CFGR_SW_PLL1 3u
#define RCC_CFGR_SWS (7u << 3)
#define RCC_CFGR_SWS_PLL1 (3u << 3)
#define RCC_D1CFGR REG(RCC + 0x18)
#define RCC_D1CFGR_HPRE_2_PPRE_2 (8u | 4u << 4)
#define RCC_D2CFGR REG(RCC + 0x1c)
#define RCC_D2CFGR_PPRE_2 (4u << 4 | 4u << 8)
#define RCC_D3CFGR REG(RCC + 0x20)
#define RCC_D3CFGR_PPRE_2 (4u << 4)
#define RCC_PLLCKSELR REG(RCC + 0x28)
#define RCC_PLLCKSELR_HSE 2u
#define RCC_PLLCFGR REG(RCC + 0x2c)
#define RCC_PLLCFGR_4_MHZ_IN_P_OUT (2u << 2 | 1u << 16)
#define RCC_PLL1DIVR REG(RCC + 0x30)
#define RCC_PLL3DIVR REG(RCC + 0x40)
#define RCC_PLLCFGR_3_4_MHZ_IN_Q_OUT (2u << 10 | 1u << 23)
#define RCC_D2CCIP2R REG(RCC + 0x54)
#define RCC_D2CCIP2R_USB_PLL3 (2u << 20)
#define RCC_AHB1ENR (RCC + 0xd8)
#define RCC_AHB1LPENR (RCC + 0x100)
#define RCC_AHB4ENR (RCC + 0xe0)
#define RCC_APB1LENR (RCC + 0xe8)
#define RCC_APB2ENR (RCC + 0xf0)
#define CLOCK_POLLS 100000u /* a crystal starts within some milliseconds; a flag that never comes must not stop us */

#define PWR_CSR1 REG(0x58024804u)
#define PWR_CR3 REG(0x5802480cu)
#define PWR_CR3_LDO 2u /* written once after a reset of the power */
#define PWR_CR3_USB (1u << 24)
#define PWR_CR3_USB_READY (1u << 26)
#define PWR_D3CR REG(0x58024818u)
#define PWR_D3CR_SCALE_1 (3u << 14)
#define PWR_READY (1u << 13) /* in CSR1 and D3CR */

#define FLASH_ACR REG(0x52002000u)
#define FLASH_ACR_200_MHZ (2u | 2u << 4)

#define INTERNAL_MHZ 64u

static uint32_t apb = INTERNAL_MHZ * 1000000u;

static int wait_for(volatile uint32_t *reg, uint32_t mask, uint32_t value)
{
    for (uint32_t i = 0; i < CLOCK_POLLS; i++)
        if ((*reg & mask) == value)
            return 1;
    return 0;
}

int clock_is_emulated(void)
{
    return 0; /* QEMU has no such chip */
}

void clock_start(void)
{
    PWR_CR3 = PWR_CR3_LDO;
    if (!wait_for(&PWR_CSR1, PWR_READY, PWR_READY))
        return;
    PWR_D3CR = PWR_D3CR_SCALE_1;
    if (!wait_for(&PWR_D3CR, PWR_READY, PWR_READY))
        return;
    RCC_CR |= RCC_CR_HSEON | (BOARD_CLOCK_IS_FED ? RCC_CR_HSEBYP : 0);
    const int crystal = wait_for(&RCC_CR, RCC_CR_HSERDY, RCC_CR_HSERDY);
    const uint32_t to_4_mhz = (crystal ? BOARD_CRYSTAL_MHZ : INTERNAL_MHZ) / 4u;
    RCC_PLLCKSELR = to_4_mhz << 4 | (crystal ? RCC_PLLCKSELR_HSE : 0);
    RCC_PLLCFGR = RCC_PLLCFGR_4_MHZ_IN_P_OUT;
    RCC_PLL1DIVR = (200u - 1u) | (2u - 1u) << 9; /* x 200 / 2 */
    RCC_CR |= RCC_CR_PLL1ON;
    if (!wait_for(&RCC_CR, RCC_CR_PLL1RDY, RCC_CR_PLL1RDY))
        return;
    RCC_D1CFGR = RCC_D1CFGR_HPRE_2_PPRE_2;
    RCC_D2CFGR = RCC_D2CFGR_PPRE_2;
    RCC_D3CFGR = RCC_D3CFGR_PPRE_2;
    FLASH_ACR = FLASH_ACR_200_MHZ;
    RCC_CFGR = RCC_CFGR_SW_PLL1;
    if (wait_for(&RCC_CFGR, RCC_CFGR_SWS, RCC_CFGR_SWS_PLL1)) {
        apb = 100000000u;
    } else {
        RCC_CFGR = 0;
        apb = INTERNAL_MHZ * 1000000u / 4u; /* the dividers stay */
    }
}

/* By the third PLL; the supply of the USB's pins is the board's. */
int clock_start_usb(void)
{
    const uint32_t divider = RCC_PLLCKSELR >> 4 & 0x3fu; /* to 4 MHz, for the first PLL */
    if (divider == 0 || apb != 100000000u)
        return 0;
    RCC_PLLCKSELR |= divider << 20;
    RCC_PLLCFGR |= RCC_PLLCFGR_3_4_MHZ_IN_Q_OUT;
    RCC_PLL3DIVR = (48u - 1u) | (4u - 1u) << 16; /* x 48 / 4 */
    RCC_CR |= RCC_CR_PLL3ON;
    if (!wait_for(&RCC_CR, RCC_CR_PLL3RDY, RCC_CR_PLL3RDY))
        return 0;
    RCC_D2CCIP2R = (RCC_D2CCIP2R & ~(3u << 20)) | RCC_D2CCIP2R_USB_PLL3;
    PWR_CR3 |= PWR_CR3_USB;
    if (!wait_for(&PWR_CR3, PWR_CR3_USB_READY, PWR_CR3_USB_READY))
        return 0;
    clock_open((clock_gate_t){RCC_AHB1ENR, 1u << 27});
    REG(RCC_AHB1LPENR) &= ~(1u << 28); /* no clock for an external PHY in sleep: the own one would stop */
    return 1;
}

/* A peripheral's bit is its place on its bus, of 1 KB each. */
void clock_enable(uint32_t peripheral)
{
    volatile uint32_t *reg = &REG(peripheral >= AHB4 ? RCC_AHB4ENR : peripheral >= APB2 ? RCC_APB2ENR : RCC_APB1LENR);
    *reg |= 1u << (peripheral & 0xffffu) / 0x400u;
    (void)*reg; /* the clock is there a little later */
}

uint32_t clock_of(uint32_t peripheral)
{
    (void)peripheral;
    return apb;
}

#endif
