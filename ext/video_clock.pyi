"""The common clock of sound and pictures; native only (video_clock.pxd)."""
