#include "second_link.h"

#include "board.h"
#include "clock.h"
#include "gpio.h"
#include "port.h"

#define FIRST_BYTES 64u /* HELLO is shorter */
#define FAREWELL_BYTES 96u
#define POLLS 1000000u

static int on_usb;
static uint8_t first[FIRST_BYTES]; /* of a newcomer */
static size_t said, given;         /* bytes of it: said, and of one that was let in, handed to the application */
static int is_in;

void second_link_start(void)
{
    static const pin_t pins[] = {BOARD_USB_LINES};
    if (!clock_start_usb())
        return; /* the USART is there */
    for (size_t i = 0; i < sizeof pins / sizeof *pins; i++) {
        clock_enable(pins[i].port);
        gpio_connect(pins[i]);
        GPIO_PUPDR(pins[i].port) &= ~(3u << 2 * pins[i].number); /* the bus has pulls of its own */
    }
#if defined(OTG_FS_GCCFG)
    OTG_FS_GCCFG |= OTG_FS_GCCFG_WITHOUT_VBUS; /* TinyUSB says so itself to the controllers of later chips */
#endif
    usb_cdc_start();
}

static size_t hand_over(uint8_t *out, size_t capacity)
{
    size_t n = 0;
    while (n < capacity && given < said)
        out[n++] = first[given++];
    if (given == said) {
        is_in = 0;
        said = 0;
    }
    return n;
}

/* Somebody on the line that is not the link: whoever says HELLO gets it, and the other one is told. */
static void hear(link_read_t read, link_write_t write)
{
    uint8_t farewell[FAREWELL_BYTES];
    const size_t n = (on_usb ? read : usb_cdc_read)(first + said, sizeof first - said);
    said += n;
    if (n == 0)
        return;
    const int greets = app_greets(first, said);
    if (greets > 0 && app_admits(first, said, 0) > 0) {
        (on_usb ? usb_cdc_write : write)(farewell, app_farewell(farewell, sizeof farewell));
        on_usb = !on_usb;
        is_in = 1;
        given = 0;
    } else if (greets >= 0 || said == sizeof first) { /* of the host before, which has not heard it yet; or noise */
        said = 0;
    }
}

size_t second_link_read(link_read_t read, link_write_t write, uint8_t *out, size_t capacity)
{
    if (!is_in)
        hear(read, write);
    return is_in ? hand_over(out, capacity) : (on_usb ? usb_cdc_read : read)(out, capacity);
}

size_t second_link_write(link_write_t write, const uint8_t *data, size_t n)
{
    return (on_usb ? usb_cdc_write : write)(data, n);
}

int second_link_is_news(void)
{
    return is_in || usb_cdc_is_news();
}

void second_link_leave(void)
{
    for (uint32_t i = 0; i < POLLS && on_usb && !usb_cdc_is_drained(); i++) {
    }
    usb_cdc_leave();
}
