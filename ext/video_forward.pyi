"""Selective forwarding; native only (video_forward.pxd)."""
