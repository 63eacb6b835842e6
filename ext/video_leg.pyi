"""A leg with video; native only (video_leg.pxd)."""
