/* clang-format off */
/* What a GENX320 is told before it sends, word by word; to be included with WRITE, READ and WAIT_US defined. Order and values are
 * those of the sensor's maker for its parallel interface (CPI), as its drivers have them (Apache-2.0), with
 * EVT2 words, the blanks of lines and frames high, and events dropped in the sensor where its line is busy.
 * The model of the sensor (tests/chips) reads this file, too, and takes no other word. */
WRITE(0x0064, 0x03E8000A) /* CPI and events, whatever its mode pins say */
WRITE(0x9008, 0x00000320) /* time base */
WRITE(0x9008, 0x00010320)
WRITE(0x020C, 0x00000015) /* slow clock */
WRITE(0x0204, 0x00004D6C) /* system clock */
WRITE(0x0210, 0x00000C00) /* clock of events */
WRITE(0x9008, 0x000000A0) /* time base */
WRITE(0x00B8, 0x00000040) /* memory of the CPI */
WRITE(0x00C0, 0x00000078)
WRITE(0x800C, 0x0001040A) /* period and blank of a packet */
WRITE(0x8008, 0x00000400) /* packets of 1024 bytes */
WRITE(0x8010, 0x00000140) /* frames of 320 packets */
WRITE(0x8000, 0x0001EFA1) /* parallel interface */
WRITE(0x8000, 0x0001FFA1)
WRITE(0xE000, 0x00000005) /* bypass: NFL */
WRITE(0xC000, 0x00000005) /* bypass: AFK */
WRITE(0xD000, 0x00000005) /* bypass: STC */
WRITE(0x6000, 0x00000005) /* bypass: ERC */
WRITE(0x60A0, 0x00000000) /* bypass: ERC's delay */
WRITE(0x704C, 0x000007D0) /* interface of the formatter */
WRITE(0x7100, 0x00010280) /* time until a packet is sent that is not full */
WRITE(0x7044, 0x00000002) /* format */
WRITE(0x7048, 0x00000000) /* events injected */
WRITE(0x7000, 0x00000001) /* formatter */
WRITE(0x9008, 0x000000A4) /* time base */
WRITE(0x9000, 0x00000200) /* readout */
WRITE(0x001C, 0x00000004) /* resets */
WRITE(0xA000, 0x00000406) /* bandgap */
WRITE(0xA01C, 0x0007641F) /* power */
WRITE(0xB030, 0x00000010) /* MIPI's power */
WRITE(0x004C, 0x00204E22) /* ADC */
WAIT_US(1000)
WRITE(0xA01C, 0x0007E41F) /* power */
WAIT_US(1000)
READ(0xA01C) /* what it says does not matter */
WRITE(0x004C, 0x00204E20) /* ADC */
WRITE(0x1218, 0x00000111) /* bias generator */
WRITE(0x1218, 0x00000111)
WRITE(0x1218, 0x00000111)
WAIT_US(1000)
WRITE(0x1220, 0x00000001) /* bias generator */
WAIT_US(1000)
WRITE(0xA008, 0x00008085) /* LDO */
WRITE(0xA004, 0x00008025)
WAIT_US(1000)
WRITE(0x0070, 0x0000055F) /* charge pump */
WAIT_US(1000)
WRITE(0x1220, 0x00000003) /* bias generator */
WAIT_US(1000)
WRITE(0x1208, 0x00000030) /* bias generator */
WAIT_US(1000)
WRITE(0x0000, 0x00000420) /* region of interest */
WRITE(0x0000, 0x00000400)
WRITE(0x0000, 0x00000802)
WRITE(0x0000, 0x00000822)
WRITE(0x0000, 0x00000802)
WRITE(0x3000, 0x00000000) /* rows */
WRITE(0x3004, 0x00000000)
WRITE(0x3008, 0x00000000)
WRITE(0x300C, 0x00000000)
WRITE(0x3010, 0x00000000)
WRITE(0x3014, 0x00000000)
WRITE(0x3018, 0x00000000)
WRITE(0x301C, 0x00000000)
WRITE(0x3020, 0x00000000)
WRITE(0x3024, 0x00000000)
WRITE(0x3028, 0x00000000)
WRITE(0x0000, 0x00000822) /* region of interest */
WRITE(0x0000, 0x00000802)
WRITE(0x2000, 0x00000000) /* columns */
WRITE(0x2004, 0x00000000)
WRITE(0x2008, 0x00000000)
WRITE(0x200C, 0x00000000)
WRITE(0x2010, 0x00000000)
WRITE(0x2014, 0x00000000)
WRITE(0x2018, 0x00000000)
WRITE(0x201C, 0x00000000)
WRITE(0x2020, 0x00000000)
WRITE(0x2024, 0x00000000)
WRITE(0x3000, 0xFFFFFFFF) /* rows */
WRITE(0x3004, 0xFFFFFFFF)
WRITE(0x3008, 0xFFFFFFFF)
WRITE(0x300C, 0xFFFFFFFF)
WRITE(0x3010, 0xFFFFFFFF)
WRITE(0x3014, 0xFFFFFFFF)
WRITE(0x3018, 0xFFFFFFFF)
WRITE(0x301C, 0xFFFFFFFF)
WRITE(0x3020, 0xFFFFFFFF)
WRITE(0x3024, 0xFFFFFFFF)
WRITE(0x0000, 0x00000822) /* region of interest */
WRITE(0x0000, 0x00000802)
WAIT_US(1000)
WRITE(0x1000, 0x0301003D) /* biases */
WRITE(0x1004, 0x03010027)
WRITE(0x1008, 0x0101003F)
WRITE(0x1100, 0x03010000)
WRITE(0x1104, 0x01090018)
WRITE(0x1108, 0x01010033)
WRITE(0x110C, 0x01090013)
WRITE(0x1110, 0x01010039)
WRITE(0x1114, 0x03010052)
WRITE(0x1118, 0x03010042)
WRITE(0x111C, 0x03000074)
WRITE(0x1120, 0x010000A4)
WRITE(0x1208, 0x00000035) /* bias generator */
WRITE(0x0000, 0x00000802) /* region of interest */
WRITE(0x9008, 0x00000184) /* time base */
WRITE(0x9008, 0x00010184)
WRITE(0x0200, 0x00000000) /* reference clock */
WRITE(0x0214, 0x00000440) /* PLL */
WRITE(0x0214, 0x00000441)
WRITE(0x0204, 0x00000634) /* system clock */
WRITE(0x020C, 0x00000061) /* slow clock */
WRITE(0x0204, 0x00000635) /* system clock */
WRITE(0x0204, 0x00000637)
WRITE(0x0210, 0x00000C00) /* clock of events */
WRITE(0xB00C, 0x00000004) /* MIPI */
WRITE(0x9008, 0x00000304) /* time base */
WRITE(0x004C, 0x00209600) /* ADC */
WRITE(0x7044, 0x00000000) /* EVT2, little-endian */
WRITE(0x8018, 0x00000003) /* blanks of lines and frames are high */
WRITE(0x9000, 0x00003600) /* drop events when the line is busy */
WRITE(0x8000, 0x000006A1) /* packets and frames of fixed size, whenever they are full or their time is up */
/* clang-format on */
