/* clang-format off */
/* How a GENX320 begins to send, word by word; to be included with WRITE, READ and WAIT_US defined. Order and values are
 * those of the sensor's maker for its parallel interface (CPI), as its drivers have them (Apache-2.0).
 * The model of the sensor (tests/chips) reads this file, too, and takes no other word. */
WRITE(0x9028, 0x00000000) /* output of events */
WRITE(0x9008, 0x00000305) /* time base */
WAIT_US(1000)
WRITE(0x002C, 0x0022C724) /* arbiter of rows */
WRITE(0x0000, 0x00000C02) /* region of interest */
WAIT_US(1000)
/* clang-format on */
