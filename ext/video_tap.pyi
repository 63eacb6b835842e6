"""Consented copies of video; native only (video_tap.pxd)."""
