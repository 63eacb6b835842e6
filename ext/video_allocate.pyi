"""Sharing bandwidth; native only (video_allocate.pxd)."""
