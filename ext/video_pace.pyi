"""The budget and the queue of a leg's video; native only (video_pace.pxd)."""
