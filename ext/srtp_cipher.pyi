"""The arithmetic of SRTP; native (srtp_cipher.pxd)."""
