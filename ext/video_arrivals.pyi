"""Arrival times by transport-wide number; native only (video_arrivals.pxd)."""
