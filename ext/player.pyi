"""Native only; see player.pxd."""
