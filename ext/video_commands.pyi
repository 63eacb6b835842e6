"""Commands about tracks; native only (video_commands.pxd)."""
