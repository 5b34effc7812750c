#include "usb_cdc.h"

#include "port.h"

#include <device/dcd.h>
#include <device/usbd_pvt.h>
#include <tusb.h>

static int write_blocked;

void usb_cdc_start(void)
{
    tud_init(0);
}

void usb_cdc_interrupt(void)
{
    tud_int_handler(0);
    tud_task_ext(0, true);
}

/* What was meant for the host before is not for the one that comes now. */
void tud_cdc_line_state_cb(uint8_t number, bool dtr, bool rts)
{
    (void)rts;
    if (dtr)
        tud_cdc_n_write_clear(number);
}

size_t usb_cdc_read(uint8_t *out, size_t capacity)
{
    dcd_int_disable(0);
    const size_t n = tud_cdc_read(out, (uint32_t)capacity); /* asks for the next packet, too, where it has room now */
    dcd_int_enable(0);
    return n;
}

size_t usb_cdc_write(const uint8_t *data, size_t n)
{
    size_t done = n;
    dcd_int_disable(0);
    if (tud_cdc_connected()) {
        done = tud_cdc_write(data, (uint32_t)n);
        tud_cdc_write_flush();
    }
    write_blocked = done < n;
    dcd_int_enable(0);
    return done;
}

int usb_cdc_is_news(void)
{
    return tud_cdc_available() > 0 || (write_blocked && (tud_cdc_write_available() > 0 || !tud_cdc_connected()));
}

int usb_cdc_is_drained(void)
{
    return !tud_cdc_connected() ||
           (tud_cdc_write_available() == CFG_TUD_CDC_TX_BUFSIZE && !usbd_edpt_busy(0, USB_CDC_ENDPOINT_IN));
}

void usb_cdc_leave(void)
{
    dcd_int_disable(0);
    tud_disconnect();
}
