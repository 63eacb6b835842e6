"""The media worker; native only (worker.pxd). Python drives it through ext.control."""
