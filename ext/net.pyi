"""UDP sockets under epoll; native (net.pxd), opaque to Python."""

class UdpNetwork:
    """epoll, a timer and a bell; one worker thread waits on it. Raises OSError without descriptors."""

    def __init__(self) -> None: ...
