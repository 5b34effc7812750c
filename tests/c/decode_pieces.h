/* Driving the decoders: bytes in pieces, events into little room. */
#ifndef DECODE_PIECES_H_INCLUDED
#define DECODE_PIECES_H_INCLUDED

#include "spedge/decode.h"

/* Decode in pieces of `piece` bytes into room for `capacity` events at a time; returns how many events there are.
 * Ends the test when the decoder takes or makes more than it may, or leaves bytes. */
size_t decode_all(sp_decoder_t *d, const uint8_t *in, size_t n, size_t piece, size_t capacity, sp_event_t *out);
size_t decode_all_evt2(sp_evt2_t *d, const uint8_t *in, size_t n, size_t piece, size_t capacity, sp_event_t *out);

/* Ends the test unless every word is in one count. */
void check_words_add_up(const sp_decode_stats_t *s);

#endif
