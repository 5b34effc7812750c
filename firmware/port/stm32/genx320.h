/* A Prophesee GENX320 at an I2C bus, which is set up to send EVT2 words at its parallel interface. */
#ifndef SP_STM32_GENX320_H_INCLUDED
#define SP_STM32_GENX320_H_INCLUDED

#include <stdint.h>

#define GENX320_FRAME_PACKETS 320u

/* Whether one is there: it says which chip it is. */
int genx320_answers(uint32_t i2c);

/* Begin to set it up; what it sent before ends first. Nothing is said yet. */
void genx320_begin(void);

/* Say the next word, when it is time. Returns 0 when the sensor sends. One that does not take a word is begun anew with. */
int genx320_step(uint32_t i2c);

/* It is silent, and only has to be told to begin; it sends. */
int genx320_is_set_up(void);
int genx320_sends(void);

#endif
