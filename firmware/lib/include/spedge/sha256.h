/* SHA-256 (FIPS 180-4) and the keyed hash made of it, HMAC-SHA-256 (RFC 2104).
 * For short texts such as challenges: nothing here is made to be fast. */
#ifndef SP_SHA256_H_INCLUDED
#define SP_SHA256_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SP_SHA256_BYTES 32u
#define SP_SHA256_BLOCK_BYTES 64u

typedef struct sp_sha256 {
    uint32_t state[8];
    uint64_t bytes; /* so far */
    uint8_t block[SP_SHA256_BLOCK_BYTES];
} sp_sha256_t;

void sp_sha256_init(sp_sha256_t *hash);

/* Take in n bytes more; data may be NULL when n is 0. */
void sp_sha256_feed(sp_sha256_t *hash, const void *data, size_t n);

/* The digest of all that was fed. hash has to be begun anew. */
void sp_sha256_end(sp_sha256_t *hash, uint8_t digest[SP_SHA256_BYTES]);

/* The keyed hash of a text. A key of any length. */
void sp_hmac_sha256(const uint8_t *key, size_t key_bytes, const void *text, size_t n, uint8_t digest[SP_SHA256_BYTES]);

/* Whether n bytes are the same, in a time that does not tell how many of them are. */
int sp_same_bytes(const uint8_t *a, const uint8_t *b, size_t n);

#ifdef __cplusplus
}
#endif
#endif
