"""The text of a generated folder."""
