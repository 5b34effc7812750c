/* The image of a board on bare metal, by symbols of its linker script; included by its port. */
#ifndef SP_PORT_LINKED_IMAGE_H_INCLUDED
#define SP_PORT_LINKED_IMAGE_H_INCLUDED

#include "port.h"

#define NOTE_HEAD_BYTES 16u /* of the linker's note, before the build id */

extern const uint8_t link_image_start[], link_image_end[], link_note_start[], link_note_end[];

port_image_t port_image(void)
{
    const size_t note = (size_t)(link_note_end - link_note_start);
    port_image_t image = {link_image_start, (size_t)(link_image_end - link_image_start), NULL, 0};
    if (note > NOTE_HEAD_BYTES) {
        image.build_id = link_note_start + NOTE_HEAD_BYTES;
        image.build_id_bytes = note - NOTE_HEAD_BYTES;
    }
    return image;
}

#endif
