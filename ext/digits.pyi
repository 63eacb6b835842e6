"""Native only; see digits.pxd."""
