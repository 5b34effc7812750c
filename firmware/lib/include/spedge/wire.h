/* Numbers on the wire: little-endian, any alignment, never through a cast. */
#ifndef SP_WIRE_H_INCLUDED
#define SP_WIRE_H_INCLUDED

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

static inline uint16_t sp_get_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | (uint16_t)(p[1] << 8));
}

static inline uint32_t sp_get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t sp_get_u64(const uint8_t *p)
{
    return (uint64_t)sp_get_u32(p) | (uint64_t)sp_get_u32(p + 4) << 32;
}

static inline double sp_get_f64(const uint8_t *p)
{
    uint64_t bits = sp_get_u64(p);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Each put returns the first byte after what it wrote, so that calls chain. */
static inline uint8_t *sp_put_u8(uint8_t *p, uint8_t v)
{
    *p = v;
    return p + 1;
}

static inline uint8_t *sp_put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
    return p + 2;
}

static inline uint8_t *sp_put_u32(uint8_t *p, uint32_t v)
{
    return sp_put_u16(sp_put_u16(p, (uint16_t)v), (uint16_t)(v >> 16));
}

static inline uint8_t *sp_put_u64(uint8_t *p, uint64_t v)
{
    return sp_put_u32(sp_put_u32(p, (uint32_t)v), (uint32_t)(v >> 32));
}

static inline uint8_t *sp_put_f32(uint8_t *p, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return sp_put_u32(p, bits);
}

static inline uint8_t *sp_put_f64(uint8_t *p, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return sp_put_u64(p, bits);
}

static inline uint8_t *sp_put_bytes(uint8_t *p, const void *data, size_t n)
{
    memcpy(p, data, n);
    return p + n;
}

#ifdef __cplusplus
}
#endif
#endif
