/* Numbers of the protocol: lib/SPEC.md in C. */
#ifndef SP_APP_PROTOCOL_H_INCLUDED
#define SP_APP_PROTOCOL_H_INCLUDED

#include <stdint.h>

#define PROTOCOL_VERSION 9u

/* Requests of the host; the reply to each has the same type with REPLY_BIT set, or is ERROR. */
enum {
    MSG_HELLO = 0x01,
    MSG_OUTPUTS = 0x02,
    MSG_CONFIGURE = 0x03,
    MSG_RESET = 0x04,
    MSG_EVENTS = 0x05,
    MSG_FLUSH = 0x06,
    MSG_TOKENS = 0x07,
    MSG_INFER = 0x08,
    MSG_STATS = 0x09,
    MSG_RESULTS = 0x0a,
    MSG_RAW = 0x0b,
    MSG_VALUES = 0x0c,
    MSG_IMAGE = 0x0d,
    MSG_REBOOT = 0x0e,
    MSG_BOXES = 0x0f,
    MSG_RESULT_PUSH = 0x40, /* of the device, unasked */
    MSG_REPLY_BIT = 0x80,
    MSG_ERROR = 0xff
};

enum {
    ERROR_TYPE = 1,       /* the request's type is unknown */
    ERROR_LENGTH = 2,     /* the payload's length is wrong for its type */
    ERROR_SESSION = 3,    /* the frame is of another session than the device's */
    ERROR_NO_SESSION = 4, /* CONFIGURE has to come first */
    ERROR_VALUE = 5,      /* a field is out of range; detail: which, see SPEC.md */
    ERROR_MEMORY = 6,     /* detail: bytes needed, bytes available */
    ERROR_NO_MODEL = 7,   /* the firmware or the session has no model */
    ERROR_RANGE = 8,      /* TOKENS of an index that is gone or not there yet; detail: oldest kept, total */
    ERROR_UNREAD = 9,     /* processing waits for TOKENS or RESULTS; detail: unread tokens and results, bytes queued */
    ERROR_MODEL = 10,     /* the model failed; detail: its code */
    ERROR_FAULT = 11,     /* the device has failed and stopped; sent without a request */
    ERROR_TAKEN = 12,     /* another host has the device; sent without a request, and the connection ends */
    ERROR_KEY = 13        /* the host has not shown the key; to HELLO: it has another one, and the connection ends */
};

/* CONFIGURE flags */
enum {
    CONFIGURE_MODEL = 1, /* take tokenizer, embedding and window from the linked model */
    CONFIGURE_PUSH = 2,  /* send results unasked */
    CONFIGURE_RAW = 4,   /* keep the bytes of the source on the board for RAW */
    CONFIGURE_HOLD = 8   /* lossless: compute nothing while a result is unread, so that VALUES has its numbers */
};

/* What the session makes of its events: a bundle's representation */
enum { REPRESENTATION_TOKENS = 0, REPRESENTATION_EVENTS = 1 };

/* Formats of events: 0 to 3 as SP_FORMAT_*, and from here on those of an eDVS */
enum { FORMAT_EVT2 = 0, FORMAT_EVT3 = 3, FORMAT_EDVS = 16, FORMAT_EDVS_LAST = 20 };
enum { MODE_LOSSLESS = 0, MODE_LIVE = 1 };
enum { SOURCE_LINK = 0, SOURCE_CAMERA = 1, SOURCE_RAM = 2, SOURCE_FRAMES = 3 };

/* REBOOT: what runs next */
enum { REBOOT_FIRMWARE = 0, REBOOT_BOOTLOADER = 1 };

/* Why an inference was made */
enum { CAUSE_ASKED = 0, CAUSE_EVERY_US = 1, CAUSE_EVERY_TOKENS = 2, CAUSE_STEP = 3 };

/* Of HELLO's frame: leave the device to the host that has it, if there is another one */
enum { FLAG_YIELD = 1 };

/* HELLO flags */
enum { HELLO_MODEL = 1, HELLO_CAMERA = 2, HELLO_RAM = 4, HELLO_FRAMES = 8, HELLO_KEY = 128 };

#define HELLO_MOST_BYTES 50u /* with challenge and proof */
#define STATUS_BYTES 32u
#define TOKENIZER_CONFIG_BYTES 56u
#define CONFIGURE_BYTES (16u + TOKENIZER_CONFIG_BYTES + 24u)
#define TOKEN_BYTES 20u
#define LOSS_BYTES 72u
#define RESULT_FIXED_BYTES (STATUS_BYTES + 68u + LOSS_BYTES) /* all of a RESULT but the numbers */
#define VALUES_FIXED_BYTES 8u
#define STEP_BYTES 16u /* of a detector's RESULT, behind the fixed part and before the boxes */
#define BOX_BYTES 22u
#define LIVE_HEAD_BYTES 12u /* of EVENTS in live mode, before the words */

#endif
