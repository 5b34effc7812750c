#include "spedge/frame.h"

#include "inline.h"

#include <string.h>

/* Polynomial 0x04C11DB7, reflected. Three ways to the same number: what the machine has, eight bytes at a step by 8 KB of
 * tables where flash is plenty, and four bits at a step by 64 bytes.
 *
 * By the first two each step waits for the one before it, while the machine could do several at once. So long data is cut
 * into stripes whose sums are taken side by side (Gopal et al. 2011, "Fast CRC Computation for iSCSI Polynomial Using
 * CRC32 Instruction"). */

#if defined(__ARM_FEATURE_CRC32)

#include <arm_acle.h>

#define EIGHT_AT_A_STEP

SP_INLINE uint32_t add_byte(uint32_t crc, uint8_t byte)
{
    return __crc32b(crc, byte);
}

SP_INLINE uint32_t add_8(uint32_t crc, const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return __crc32d(crc, word);
}

#elif defined(SP_CRC_TABLES)

#include "crc32_tables.h"

#define EIGHT_AT_A_STEP

SP_INLINE uint32_t little(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

SP_INLINE uint32_t add_byte(uint32_t crc, uint8_t byte)
{
    return crc >> 8 ^ crc_table[0][(crc ^ byte) & 255u];
}

/* Kounavis and Berry 2005, "A systematic approach to building high performance software-based CRC generators". */
SP_INLINE uint32_t add_8(uint32_t crc, const uint8_t *p)
{
    const uint32_t a = crc ^ little(p);
    const uint32_t b = little(p + 4);
    return crc_table[7][a & 255u] ^ crc_table[6][a >> 8 & 255u] ^ crc_table[5][a >> 16 & 255u] ^ crc_table[4][a >> 24] ^
           crc_table[3][b & 255u] ^ crc_table[2][b >> 8 & 255u] ^ crc_table[1][b >> 16 & 255u] ^ crc_table[0][b >> 24];
}

#endif

#ifdef EIGHT_AT_A_STEP

#define STRIPE_BYTES 2048u

/* x^(8 * STRIPE_BYTES) modulo the polynomial: what so many zero bytes multiply a sum by. */
#define STRIPE_FACTOR 0x4d47bae0u

/* The product of two polynomials modulo the polynomial; bit 31 is x^0. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (; a != 0; a <<= 1) {
        product ^= (a >> 31) * b;
        b = b >> 1 ^ (b & 1u) * 0xedb88320u;
    }
    return product;
}

uint32_t sp_crc32(uint32_t crc, const void *data, size_t n)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (; n >= 3u * STRIPE_BYTES; n -= 3u * STRIPE_BYTES, p += 3u * STRIPE_BYTES) {
        uint32_t second = 0, third = 0;
        for (size_t i = 0; i < STRIPE_BYTES; i += 8) {
            crc = add_8(crc, p + i);
            second = add_8(second, p + STRIPE_BYTES + i);
            third = add_8(third, p + 2u * STRIPE_BYTES + i);
        }
        crc = multiply(STRIPE_FACTOR, multiply(STRIPE_FACTOR, crc) ^ second) ^ third;
    }
    for (; n >= 8; n -= 8, p += 8)
        crc = add_8(crc, p);
    for (; n > 0; n--)
        crc = add_byte(crc, *p++);
    return ~crc;
}

#else

static const uint32_t crc_nibble[16] = {
    0x00000000u, 0x1db71064u, 0x3b6e20c8u, 0x26d930acu, 0x76dc4190u, 0x6b6b51f4u, 0x4db26158u, 0x5005713cu,
    0xedb88320u, 0xf00f9344u, 0xd6d6a3e8u, 0xcb61b38cu, 0x9b64c2b0u, 0x86d3d2d4u, 0xa00ae278u, 0xbdbdf21cu,
};

uint32_t sp_crc32(uint32_t crc, const void *data, size_t n)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ crc_nibble[crc & 15u];
        crc = crc >> 4 ^ crc_nibble[crc & 15u];
    }
    return ~crc;
}

#endif
