/* What the device says of itself to a host: a serial port, with the board's name and the chip's own number. */
#include "port.h"
#include "usb_cdc.h"

#include <tusb.h>

#ifndef SP_USB_VENDOR
#error "a board with USB needs -DSP_USB_VENDOR and -DSP_USB_PRODUCT in its manifest"
#endif

enum { INTERFACE_CDC, INTERFACE_CDC_DATA, INTERFACES };
enum { STRING_LANGUAGE, STRING_VENDOR, STRING_PRODUCT, STRING_SERIAL };
#define ENDPOINT_NOTIFY 0x81
#define ENDPOINT_OUT 0x02
#define LENGTH (TUD_CONFIG_DESC_LEN + TUD_CDC_DESC_LEN)
#define MOST_MILLIAMPERES 250
#define UNITS 32 /* of UTF-16, with the head of the descriptor */
#define ENGLISH 0x0409
#define ID_BYTES 12

uint8_t const *tud_descriptor_device_cb(void)
{
    static const tusb_desc_device_t device = {
        .bLength = sizeof(tusb_desc_device_t),
        .bDescriptorType = TUSB_DESC_DEVICE,
        .bcdUSB = 0x0200,
        .bDeviceClass = TUSB_CLASS_MISC,
        .bDeviceSubClass = MISC_SUBCLASS_COMMON,
        .bDeviceProtocol = MISC_PROTOCOL_IAD,
        .bMaxPacketSize0 = CFG_TUD_ENDPOINT0_SIZE,
        .idVendor = SP_USB_VENDOR,
        .idProduct = SP_USB_PRODUCT,
        .bcdDevice = 0x0100,
        .iManufacturer = STRING_VENDOR,
        .iProduct = STRING_PRODUCT,
        .iSerialNumber = STRING_SERIAL,
        .bNumConfigurations = 1,
    };
    return (uint8_t const *)&device;
}

uint8_t const *tud_descriptor_configuration_cb(uint8_t index)
{
    static const uint8_t configuration[] = {
        TUD_CONFIG_DESCRIPTOR(1, INTERFACES, 0, LENGTH, 0, MOST_MILLIAMPERES),
        TUD_CDC_DESCRIPTOR(INTERFACE_CDC, STRING_PRODUCT, ENDPOINT_NOTIFY, 8, ENDPOINT_OUT, USB_CDC_ENDPOINT_IN, 64),
    };
    (void)index;
    return configuration;
}

static size_t put_text(uint16_t *units, const char *text)
{
    size_t n = 0;
    for (; text[n] != 0 && n + 1u < UNITS; n++)
        units[n] = (uint8_t)text[n];
    return n;
}

static size_t put_serial(uint16_t *units)
{
    static const char digits[] = "0123456789ABCDEF";
    uint8_t id[ID_BYTES];
    const size_t n = port_unique_id(id, sizeof id);
    for (size_t i = 0; i < 2 * n; i++)
        units[i] = (uint8_t)digits[id[i / 2] >> (i % 2 != 0 ? 0 : 4) & 0xfu];
    return 2 * n;
}

uint16_t const *tud_descriptor_string_cb(uint8_t index, uint16_t language)
{
    static uint16_t units[UNITS];
    size_t n;
    (void)language;
    switch (index) {
    case STRING_LANGUAGE:
        units[1] = ENGLISH;
        n = 1;
        break;
    case STRING_VENDOR:
        n = put_text(units + 1, "spedge");
        break;
    case STRING_PRODUCT:
        n = put_text(units + 1, port_info()->board);
        break;
    case STRING_SERIAL:
        n = put_serial(units + 1);
        break;
    default:
        return NULL;
    }
    units[0] = (uint16_t)(TUSB_DESC_STRING << 8 | (2 * n + 2));
    return units;
}
