"""Files of the user: read only what is one, within limits, and written whole or not at all."""
