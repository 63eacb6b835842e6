"""Native only; see echo_delay.pxd."""
