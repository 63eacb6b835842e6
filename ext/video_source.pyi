"""Reception of video; native only (video_source.pxd)."""
