"""RTCP of tracks; native only (video_report.pxd)."""
