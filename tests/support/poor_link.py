"""A link that is slow and loses packets: python3 poor_link.py NEAR FAR DELAY_S LOSS SEED COUNTS

Makes the TAP devices NEAR and FAR, says "ready", and moves Ethernet frames between them, each
after DELAY_S, but for those that a seeded generator drops (LOSS of 1). Writes how many frames it
moved and dropped to the file COUNTS. Ends when its standard input does.
"""

import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
FRAME_BYTES_MAX = 65536


def tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


def write(fd, frame):
    try:
        os.write(fd, frame)
    except OSError:
        pass  # Down, or full: a link loses frames then.


def main():
    near, far, delay_s, loss, seed, counts = sys.argv[1:]
    delay_s, loss, chance = float(delay_s), float(loss), random.Random(int(seed))
    ends = {tap(near): None, tap(far): None}
    one, other = ends
    ends = {one: other, other: one}
    print("ready", flush=True)
    under_way, number, moved, dropped, told_s = [], 0, 0, 0, 0.0
    while True:
        now_s = time.monotonic()
        while under_way and under_way[0][0] <= now_s:
            _, _, to, frame = heapq.heappop(under_way)
            write(to, frame)
            moved += 1
        if now_s > told_s + 0.1:
            told_s = now_s
            with open(counts + ".new", "w") as file:
                file.write(f"{moved} {dropped}")
            os.rename(counts + ".new", counts)
        wait_s = min(under_way[0][0] - now_s if under_way else 0.1, 0.1)
        readable, _, _ = select.select([0, *ends], [], [], max(wait_s, 0))
        for fd in readable:
            if fd == 0:
                if not os.read(0, 1):
                    return
                continue
            try:
                frame = os.read(fd, FRAME_BYTES_MAX)
            except OSError:
                continue
            if chance.random() < loss:
                dropped += 1
                continue
            number += 1
            heapq.heappush(under_way, (time.monotonic() + delay_s, number, ends[fd], frame))


main()
