"""Native only; see report.pxd."""
