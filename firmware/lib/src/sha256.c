#include "spedge/sha256.h"

#include <string.h>

static const uint32_t rounds[64] = {0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u,
                                    0x923f82a4u, 0xab1c5ed5u, 0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u,
                                    0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u, 0xe49b69c1u, 0xefbe4786u,
                                    0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
                                    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u,
                                    0x06ca6351u, 0x14292967u, 0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u,
                                    0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u, 0xa2bfe8a1u, 0xa81a664bu,
                                    0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
                                    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au,
                                    0x5b9cca4fu, 0x682e6ff3u, 0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u,
                                    0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u};

static uint32_t turn(uint32_t x, unsigned n)
{
    return x >> n | x << (32u - n);
}

static uint32_t get_big(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_big(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24u - 8u * i));
}

static void take_block(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[64], s[8];
    for (unsigned i = 0; i < 16; i++)
        w[i] = get_big(block + 4 * i);
    for (unsigned i = 16; i < 64; i++) {
        const uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ a >> 3) + w[i - 7] + (turn(b, 17) ^ turn(b, 19) ^ b >> 10);
    }
    memcpy(s, state, sizeof s);
    for (unsigned i = 0; i < 64; i++) {
        const uint32_t a = s[0], e = s[4];
        const uint32_t first =
            s[7] + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + rounds[i] + w[i];
        const uint32_t second = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += first;
        s[0] = first + second;
    }
    for (unsigned i = 0; i < 8; i++)
        state[i] += s[i];
}

void sp_sha256_init(sp_sha256_t *hash)
{
    static const uint32_t begin[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                                      0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
    memcpy(hash->state, begin, sizeof begin);
    hash->bytes = 0;
}

void sp_sha256_feed(sp_sha256_t *hash, const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n > 0) {
        const size_t at = (size_t)(hash->bytes % SP_SHA256_BLOCK_BYTES), room = SP_SHA256_BLOCK_BYTES - at;
        const size_t taken = n < room ? n : room;
        memcpy(hash->block + at, p, taken);
        hash->bytes += taken;
        p += taken;
        n -= taken;
        if (taken == room)
            take_block(hash->state, hash->block);
    }
}

void sp_sha256_end(sp_sha256_t *hash, uint8_t digest[SP_SHA256_BYTES])
{
    static const uint8_t padding[SP_SHA256_BLOCK_BYTES] = {0x80};
    const uint64_t bits = hash->bytes * 8u;
    const size_t at = (size_t)(hash->bytes % SP_SHA256_BLOCK_BYTES);
    uint8_t length[8];
    put_big(length, (uint32_t)(bits >> 32));
    put_big(length + 4, (uint32_t)bits);
    sp_sha256_feed(hash, padding, (at < 56 ? 56 : 120) - at);
    sp_sha256_feed(hash, length, sizeof length);
    for (unsigned i = 0; i < 8; i++)
        put_big(digest + 4 * i, hash->state[i]);
}

static void keyed(const uint8_t block[SP_SHA256_BLOCK_BYTES], uint8_t mask, const void *text, size_t n,
                  uint8_t digest[SP_SHA256_BYTES])
{
    uint8_t masked[SP_SHA256_BLOCK_BYTES];
    sp_sha256_t hash;
    for (size_t i = 0; i < sizeof masked; i++)
        masked[i] = block[i] ^ mask;
    sp_sha256_init(&hash);
    sp_sha256_feed(&hash, masked, sizeof masked);
    sp_sha256_feed(&hash, text, n);
    sp_sha256_end(&hash, digest);
}

void sp_hmac_sha256(const uint8_t *key, size_t key_bytes, const void *text, size_t n, uint8_t digest[SP_SHA256_BYTES])
{
    uint8_t block[SP_SHA256_BLOCK_BYTES] = {0}, inner[SP_SHA256_BYTES];
    if (key_bytes > sizeof block) {
        sp_sha256_t hash;
        sp_sha256_init(&hash);
        sp_sha256_feed(&hash, key, key_bytes);
        sp_sha256_end(&hash, block);
    } else if (key_bytes > 0) {
        memcpy(block, key, key_bytes);
    }
    keyed(block, 0x36, text, n, inner);
    keyed(block, 0x5c, inner, sizeof inner, digest);
}

int sp_same_bytes(const uint8_t *a, const uint8_t *b, size_t n)
{
    volatile uint8_t differs = 0; /* else the compiler may stop at the first difference */
    for (size_t i = 0; i < n; i++)
        differs = (uint8_t)(differs | (a[i] ^ b[i]));
    return differs == 0;
}
