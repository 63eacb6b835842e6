"""Native only; see keypad.pxd."""
