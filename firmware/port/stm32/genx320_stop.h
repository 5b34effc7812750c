/* clang-format off */
/* How a GENX320 ends to send, word by word; to be included with WRITE, READ and WAIT_US defined. Order and values are
 * those of the sensor's maker for its parallel interface (CPI), as its drivers have them (Apache-2.0).
 * The model of the sensor (tests/chips) reads this file, too, and takes no other word. */
WRITE(0x0000, 0x00000802) /* region of interest */
WRITE(0x002C, 0x00200624) /* arbiter of rows */
WRITE(0x9028, 0x00000002) /* output of events */
WAIT_US(1000)
WRITE(0x9008, 0x00000304) /* time base */
WRITE(0x8000, 0x0001FFA2) /* parallel interface */
READ(0x8004) /* what it says does not matter */
WAIT_US(1000)
/* clang-format on */
