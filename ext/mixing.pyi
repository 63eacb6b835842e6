"""Native only; see mixing.pxd."""
