/* Whether a host that has come has the key that the device was given (SPEC.md, section 3.2). */
#ifndef SP_APP_KEY_H_INCLUDED
#define SP_APP_KEY_H_INCLUDED

#include "spedge/sha256.h"

/* What a host that has the key answers to a challenge of PORT_CHALLENGE_BYTES. */
void app_key_proof(const uint8_t *key, size_t key_bytes, const uint8_t *challenge, uint8_t proof[SP_SHA256_BYTES]);

#endif
