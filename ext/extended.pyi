"""Native only; see extended.pxd."""
