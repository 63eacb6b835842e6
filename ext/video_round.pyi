"""The clockwork of video; native only (video_round.pxd)."""
