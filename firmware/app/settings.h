/* A tokenizer's settings as CONFIGURE has them in TOKENIZER_CONFIG_BYTES, see SPEC.md. */
#ifndef SP_APP_SETTINGS_H_INCLUDED
#define SP_APP_SETTINGS_H_INCLUDED

#include "protocol.h"

#include "spedge/tokenizer.h"
#include "spedge/wire.h"

static inline sp_tokenizer_config_t app_get_tokenizer(const uint8_t *p)
{
    sp_tokenizer_config_t c;
    memset(&c, 0, sizeof c);
    c.width = sp_get_u16(p);
    c.height = sp_get_u16(p + 2);
    c.patch_size = sp_get_u16(p + 4);
    c.kind = p[6];
    c.threshold = sp_get_f64(p + 8);
    c.absolute_refractory_us = sp_get_u64(p + 16);
    c.relative_refractory_us = sp_get_u64(p + 24);
    c.relative_scale = sp_get_f64(p + 32);
    c.decay_per_us = sp_get_f64(p + 40);
    c.duration_us = sp_get_u64(p + 48);
    return c;
}

static inline uint8_t *app_put_tokenizer(uint8_t *p, const sp_tokenizer_config_t *c)
{
    p = sp_put_u16(p, c->width);
    p = sp_put_u16(p, c->height);
    p = sp_put_u16(p, c->patch_size);
    p = sp_put_u8(p, c->kind);
    p = sp_put_u8(p, 0);
    p = sp_put_f64(p, c->threshold);
    p = sp_put_u64(p, c->absolute_refractory_us);
    p = sp_put_u64(p, c->relative_refractory_us);
    p = sp_put_f64(p, c->relative_scale);
    p = sp_put_f64(p, c->decay_per_us);
    return sp_put_u64(p, c->duration_us);
}

#endif
