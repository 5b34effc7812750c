#include "spedge/frame.h"

#include <string.h>

/* Polynomial 0x04C11DB7, reflected. Three ways to the same number: what the machine has, eight bytes at a step by 8 KB of
 * tables where flash is plenty, and four bits at a step by 64 bytes. */

#if defined(__ARM_FEATURE_CRC32)

#include <arm_acle.h>

uint32_t sp_crc32(uint32_t crc, const void *data, size_t n)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        crc = __crc32d(crc, word);
    }
    for (; n > 0; n--) {
        crc = __crc32b(crc, *p++);
    }
    return ~crc;
}

#elif defined(SP_CRC_TABLES)

#include "crc32_tables.h"

static uint32_t little(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Kounavis and Berry 2005, "A systematic approach to building high performance software-based CRC generators". */
uint32_t sp_crc32(uint32_t crc, const void *data, size_t n)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        const uint32_t a = crc ^ little(p);
        const uint32_t b = little(p + 4);
        crc = crc_table[7][a & 255u] ^ crc_table[6][a >> 8 & 255u] ^ crc_table[5][a >> 16 & 255u] ^
              crc_table[4][a >> 24] ^ crc_table[3][b & 255u] ^ crc_table[2][b >> 8 & 255u] ^
              crc_table[1][b >> 16 & 255u] ^ crc_table[0][b >> 24];
    }
    for (; n > 0; n--) {
        crc = crc >> 8 ^ crc_table[0][(crc ^ *p++) & 255u];
    }
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
