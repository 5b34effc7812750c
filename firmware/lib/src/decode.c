#include "spedge/decode.h"

#include "decode_words.h"
#include "spedge/assert.h"

#include <string.h>

typedef int decode_fn(sp_decoder_t *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity,
                      size_t *got);

static const struct {
    decode_fn *decode;
    uint16_t side; /* one more than the largest coordinate it can say */
} formats[SP_FORMATS] = {
    [SP_FORMAT_EVT2] = {sp_decode_evt2_any, 2048},      [SP_FORMAT_EVT21] = {sp_decode_evt21, 2048},
    [SP_FORMAT_EVT21_LEGACY] = {sp_decode_evt21, 2048}, [SP_FORMAT_EVT3] = {sp_decode_evt3, 2048},
    [SP_FORMAT_EDVS_E0] = {sp_decode_edvs, 128},        [SP_FORMAT_EDVS_E1] = {sp_decode_edvs, 128},
    [SP_FORMAT_EDVS_E2] = {sp_decode_edvs, 128},        [SP_FORMAT_EDVS_E3] = {sp_decode_edvs, 128},
    [SP_FORMAT_EDVS_E4] = {sp_decode_edvs, 128},
};

int sp_decoder_init(sp_decoder_t *d, const sp_decoder_config_t *config)
{
    SP_ASSERT(d && config);
    if (config->format >= SP_FORMATS)
        return SP_ERR_CONFIG;
    memset(d, 0, sizeof *d);
    d->config = *config;
    if (d->config.width == 0)
        d->config.width = formats[config->format].side;
    if (d->config.height == 0)
        d->config.height = formats[config->format].side;
    d->config.invert_polarity = config->invert_polarity != 0;
    return SP_OK;
}

int sp_decoder_decode(sp_decoder_t *d, const uint8_t *in, size_t n, size_t *used, sp_event_t *out, size_t capacity,
                      size_t *got)
{
    SP_ASSERT(d && d->config.format < SP_FORMATS && used && got);
    SP_ASSERT((in || n == 0) && (out || capacity == 0));
    return formats[d->config.format].decode(d, in, n, used, out, capacity, got);
}

void sp_decoder_set_time(sp_decoder_t *d, uint64_t t)
{
    d->time = t;
}
