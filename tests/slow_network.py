"""A relay between a made-up machine and its network, which delays every packet.

    python slow_network.py PID NAME SECONDS

It makes an interface ``eth0`` in the network of the process PID and an interface NAME in its own,
and carries frames between them. This kernel has no module (netem) that would do it.
"""

import ctypes
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque
from contextlib import suppress

NEW_INTERFACE = 0x400454CA  # TUNSETIFF
WHOLE_FRAMES = 0x0002 | 0x1000  # IFF_TAP without a header of its own
NETWORK = 0x40000000  # CLONE_NEWNET
LARGEST = 2**16


def interface(name: str) -> int:
    """The descriptor of a new interface in this process's network."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, NEW_INTERFACE, struct.pack("16sH22x", name.encode(), WHOLE_FRAMES))
    return descriptor


def relay(one: int, other: int, delay: float) -> None:
    """Carry frames between two interfaces, each ``delay`` seconds late, until one is gone."""
    late: deque[tuple[float, int, bytes]] = deque()
    across = {one: other, other: one}
    while True:
        pause = None if not late else max(0.0, late[0][0] - time.monotonic())
        for ready in select.select([one, other], [], [], pause)[0]:
            late.append((time.monotonic() + delay, across[ready], os.read(ready, LARGEST)))
        while late and late[0][0] <= time.monotonic():
            _, target, frame = late.popleft()
            with suppress(OSError):  # that interface is still down
                os.write(target, frame)


def main(pid: str, name: str, seconds: str) -> None:
    outside = interface(name)
    with open(f"/proc/{pid}/ns/net") as network:
        if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), NETWORK):
            raise OSError(ctypes.get_errno(), "setns")
    with suppress(OSError):  # an interface is gone, with its machine
        relay(outside, interface("eth0"), float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
