"""Sending of video packets; native only (video_send.pxd)."""
