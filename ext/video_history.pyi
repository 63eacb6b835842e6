"""Rings of received video packets; native only (video_history.pxd)."""
