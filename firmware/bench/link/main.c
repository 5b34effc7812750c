/* What a board's link carries without the protocol, to compare with: `spedge bench link` sends a u32 (little-endian), a
 * byte that says what to do, and so many bytes. Once they are read the u32 comes back, and two u64: events that the
 * tokenizer took, and events lost. And again. */
#include "app.h"
#include "configure.h"
#include "port.h"
#include "settings.h"
#include "stream.h"

#include "spedge/wire.h"

enum {
    FORGET = 0,   /* read them and no more */
    TOKENIZE = 1, /* they are EVT2 words of a new stream, for the application's own pipeline */
    CONFIGURE = 2 /* they are a tokenizer's settings, as in SPEC.md */
};

static app_t app;
static uint8_t chunk[SP_APP_CHUNK_BYTES];

static void send(const uint8_t *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        const size_t written = port_write(data + done, n - done);
        done += written;
        if (written == 0)
            port_idle();
    }
}

static size_t receive(size_t most)
{
    for (;;) {
        const size_t got = port_read(chunk, most < sizeof chunk ? most : sizeof chunk);
        if (got > 0)
            return got;
        port_idle();
    }
}

static void receive_all(uint8_t *out, size_t n)
{
    for (size_t got = 0; got < n; got++) {
        receive(1);
        out[got] = chunk[0];
    }
}

static void tokenize(size_t n)
{
    for (size_t at = 0, used; at < n; at += used)
        sp_pipeline_feed(app.setup.pipe, chunk + at, n - at, &used, 0, SP_NO_TIME);
}

static void configure(void)
{
    uint8_t packed[TOKENIZER_CONFIG_BYTES];
    receive_all(packed, sizeof packed);
    const sp_tokenizer_config_t config = app_get_tokenizer(packed);
    const app_settings_t settings = {.tokenizer = &config};
    app_configure(&app, &settings); /* if it is refused no events will be tokenized */
}

static void answer(const uint8_t *count)
{
    uint8_t reply[20] = {0};
    sp_pipeline_progress_t progress = {0, 0, 0};
    if (app.setup.pipe != NULL)
        sp_pipeline_progress(app.setup.pipe, &progress);
    sp_put_u32(reply, sp_get_u32(count));
    sp_put_u64(reply + 4, progress.taken);
    sp_put_u64(reply + 12, progress.lost);
    send(reply, sizeof reply);
}

int main(int argc, char **argv)
{
    port_init(argc, argv);
    app_init(&app);
    for (;;) {
        uint8_t request[5];
        receive_all(request, sizeof request);
        if (request[4] == CONFIGURE) {
            configure();
        } else {
            for (size_t left = sp_get_u32(request), got; left > 0; left -= got) {
                got = receive(left);
                if (request[4] == TOKENIZE && app.setup.pipe != NULL)
                    tokenize(got);
            }
        }
        answer(request);
        if (app.setup.pipe != NULL)
            app_reset_stream(&app);
    }
}
