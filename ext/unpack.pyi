"""Native only: nothing here for Python."""
