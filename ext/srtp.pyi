"""SRTP sessions; native (srtp.pxd). Tests use ext/srtp_harness."""
