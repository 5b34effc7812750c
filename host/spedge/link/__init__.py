"""The link to a device: frames and messages, transports, and what goes wrong on the way."""
