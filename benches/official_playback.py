#!/usr/bin/env python3
"""Reads a recording with Microsoft's playback library and prints what that took, as JSON.

Usage: official_playback.py FILE.mkv < TIMES

All captures are read in order, and then one at each of TIMES, in microseconds of the file, one a line:
a seek, and the next capture. Needs the PyPI package pyk4a-bundle.
"""

import ctypes as C
import json
import os
import sys
import time

from libk4arecord import libraries

SUCCEEDED, BEGIN = 0, 0


def main():
    k4a, record = libraries()
    playback, capture = C.c_void_p(), C.c_void_p()
    assert record.k4a_playback_open(os.fsencode(sys.argv[1]), C.byref(playback)) == SUCCEEDED
    times = [int(line) for line in sys.stdin]

    def read():
        result = record.k4a_playback_get_next_capture(playback, C.byref(capture))
        if result == SUCCEEDED:
            k4a.k4a_capture_release(capture)
        return result == SUCCEEDED

    begun, captures = time.perf_counter(), 0
    while read():
        captures += 1
    seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    for at in times:
        assert record.k4a_playback_seek_timestamp(playback, C.c_int64(at), BEGIN) == SUCCEEDED
        assert read()
    seek_seconds = time.perf_counter() - begun
    print(json.dumps({"captures": captures, "seconds": seconds, "seek_seconds": seek_seconds}))


main()
