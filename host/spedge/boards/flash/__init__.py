"""Writing firmware to boards on a cable, or over a network: an image, the ways to write it, and one order of steps."""
