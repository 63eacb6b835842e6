"""Native only; see play.pxd."""
