"""Native only; see voice.pxd."""
