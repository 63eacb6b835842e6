"""Native only; see commands.pxd."""
