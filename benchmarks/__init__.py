"""How much: bytes, milliseconds, and the peers' beside ours."""
