/* What TinyUSB is asked for: a device with one serial line (CDC-ACM). CFG_TUSB_MCU is in the board's manifest. */
#ifndef SP_TUSB_CONFIG_H_INCLUDED
#define SP_TUSB_CONFIG_H_INCLUDED

#define CFG_TUSB_OS OPT_OS_NONE
#define CFG_TUSB_DEBUG 0
#define CFG_TUSB_RHPORT0_MODE (OPT_MODE_DEVICE | OPT_MODE_FULL_SPEED)
#define CFG_TUD_ENABLED 1
#define CFG_TUD_ENDPOINT0_SIZE 64
#define CFG_TUD_CDC 1
/* A packet is asked for only while the whole of it has room: until then the host hears NAK, and keeps it. */
#define CFG_TUD_CDC_RX_BUFSIZE 512
#define CFG_TUD_CDC_TX_BUFSIZE 512
#define CFG_TUD_CDC_EP_BUFSIZE 64

#endif
