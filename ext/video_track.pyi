"""Tracks; native only (video_track.pxd)."""
