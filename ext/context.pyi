"""What one worker shares inside; native only (context.pxd)."""
