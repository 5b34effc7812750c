#include "key.h"

#include "port.h"
#include "protocol.h"

#include "spedge/frame.h"
#include "spedge/wire.h"

#include <string.h>

#define FRAME_BYTES 256u /* of HELLO and more; what does not fit is another request, or noise */

void app_key_proof(const uint8_t *key, size_t key_bytes, const uint8_t *challenge, uint8_t proof[SP_SHA256_BYTES])
{
    static const char what[12] = {'s', 'p', 'e', 'd', 'g', 'e',
                                  ' ', 'H', 'E', 'L', 'L', 'O'}; /* else it proves nothing */
    uint8_t text[sizeof what + PORT_CHALLENGE_BYTES];
    memcpy(text, what, sizeof what);
    memcpy(text + sizeof what, challenge, PORT_CHALLENGE_BYTES);
    sp_hmac_sha256(key, key_bytes, text, sizeof text, proof);
}

/* Whether a request is a HELLO with a proof for this connection: one for another is of the past, or somebody else's. */
static int answers(const sp_frame_t *frame, const uint8_t *challenge)
{
    return frame->type == MSG_HELLO && frame->length == HELLO_MOST_BYTES &&
           memcmp(frame->payload + 2, challenge, PORT_CHALLENGE_BYTES) == 0;
}

static size_t reply_with(const sp_frame_t *request, uint8_t type, const uint8_t *payload, const uint8_t *end,
                         uint8_t *out, size_t capacity)
{
    const sp_frame_t frame = {type, request->flags, request->seq, 0, payload, (size_t)(end - payload)};
    const int n = sp_frame_encode(&frame, out, capacity);
    return n > 0 ? (size_t)n : 0;
}

static size_t ask(const sp_frame_t *request, const uint8_t *challenge, uint8_t *out, size_t capacity)
{
    uint8_t payload[3u + PORT_CHALLENGE_BYTES];
    uint8_t *p = sp_put_u16(payload, PROTOCOL_VERSION);
    p = sp_put_u8(p, HELLO_KEY);
    p = sp_put_bytes(p, challenge, PORT_CHALLENGE_BYTES);
    return reply_with(request, MSG_HELLO | MSG_REPLY_BIT, payload, p, out, capacity);
}

static size_t refuse(const sp_frame_t *request, uint8_t *out, size_t capacity)
{
    static const char text[] = "who asks has not shown the device's key";
    uint8_t payload[11u + sizeof text];
    uint8_t *p = sp_put_u16(payload, ERROR_KEY);
    p = sp_put_u8(p, request->type);
    p = sp_put_u32(p, 0);
    p = sp_put_u32(p, 0);
    p = sp_put_u8(p, (uint8_t)(sizeof text - 1u));
    p = sp_put_bytes(p, text, sizeof text - 1u);
    return reply_with(request, MSG_ERROR, payload, p, out, capacity);
}

int app_knows(const uint8_t *key, size_t key_bytes, const uint8_t *challenge, uint8_t *said, size_t *n, uint8_t *out,
              size_t *out_bytes)
{
    uint8_t buffer[FRAME_BYTES], proof[SP_SHA256_BYTES];
    const size_t capacity = *out_bytes;
    sp_frame_reader_t reader;
    sp_frame_t frame;
    size_t used = 0;
    int verdict = PORT_KEY_ASKED;
    *out_bytes = 0;
    sp_frame_reader_init(&reader, buffer, sizeof buffer);
    if (!sp_frame_reader_feed(&reader, said, *n, &used, &frame))
        return PORT_KEY_UNSAID;
    if (answers(&frame, challenge)) {
        app_key_proof(key, key_bytes, challenge, proof);
        if (sp_same_bytes(frame.payload + 2 + PORT_CHALLENGE_BYTES, proof, sizeof proof))
            return PORT_KEY_SHOWN;
        verdict = PORT_KEY_WRONG;
    }
    if (frame.type == MSG_HELLO && verdict == PORT_KEY_ASKED)
        *out_bytes = ask(&frame, challenge, out, capacity);
    else
        *out_bytes = refuse(&frame, out, capacity);
    *n -= used;
    memmove(said, said + used, *n);
    return verdict;
}
