#!/usr/bin/env python3
"""Writes captures with Microsoft's libk4arecord and prints what that cost, as JSON.

Usage: libk4arecord.py OUT.mkv CAPTURES JPEG_BYTES

The captures are those of `cargo bench --bench record`: a JPEG of the given size, NFOV unbinned depth and IR.
Needs the PyPI package pyk4a-bundle. Only the calls into the library and its writer thread are timed.
"""

import ctypes as C
import glob
import importlib.metadata
import json
import os
import resource
import sys
import time

WIDTH, HEIGHT = 640, 576
MJPG, DEPTH16, IR16 = 0, 4, 5


class DeviceConfig(C.Structure):
    _fields_ = [("color_format", C.c_int), ("color_resolution", C.c_int), ("depth_mode", C.c_int),
                ("camera_fps", C.c_int), ("synchronized_images_only", C.c_bool),
                ("depth_delay_off_color_usec", C.c_int32), ("wired_sync_mode", C.c_int),
                ("subordinate_delay_off_master_usec", C.c_uint32),
                ("disable_streaming_indicator", C.c_bool)]


def libraries():
    files = importlib.metadata.files("pyk4a-bundle") or []
    folder = next(os.path.dirname(f.locate()) for f in files if "libk4arecord" in f.name)
    record = sorted(glob.glob(os.path.join(folder, "libk4arecord*")))[0]
    k4a = next(p for p in sorted(glob.glob(os.path.join(folder, "libk4a*"))) if "record" not in p)
    return C.CDLL(k4a, mode=C.RTLD_GLOBAL), C.CDLL(record)


def image(k4a, kind, width, height, stride, body, stamp):
    handle = C.c_void_p()
    failed = k4a.k4a_image_create_from_buffer(
        kind, width, height, stride, C.c_void_p(C.addressof(body)), C.c_size_t(C.sizeof(body)), None,
        None, C.byref(handle))
    assert not failed
    k4a.k4a_image_set_device_timestamp_usec(handle, C.c_uint64(stamp))
    return handle


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main():
    out, count, jpeg_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    k4a, record = libraries()
    jpeg = (C.c_uint8 * jpeg_bytes)(0xFF, 0xD8)
    plane = (C.c_uint8 * (WIDTH * HEIGHT * 2)).from_buffer_copy(
        bytes(i * 37 % 251 for i in range(WIDTH * HEIGHT * 2)))
    # 1080p MJPG, NFOV unbinned, 30 fps.
    config = DeviceConfig(MJPG, 2, 2, 2, False, 0, 0, 0, False)
    handle = C.c_void_p()
    wall, used = time.perf_counter(), cpu()
    record.k4a_record_create.argtypes = [C.c_char_p, C.c_void_p, DeviceConfig, C.c_void_p]
    assert not record.k4a_record_create(out.encode(), None, config, C.byref(handle))
    assert not record.k4a_record_write_header(handle)
    for i in range(count):
        stamp = 1_000_000 + i * 1_000_000 // 30
        capture = C.c_void_p()
        k4a.k4a_capture_create(C.byref(capture))
        for kind, args in (("color", (MJPG, 1920, 1080, 0, jpeg)),
                           ("depth", (DEPTH16, WIDTH, HEIGHT, WIDTH * 2, plane)),
                           ("ir", (IR16, WIDTH, HEIGHT, WIDTH * 2, plane))):
            one = image(k4a, *args, stamp)
            getattr(k4a, f"k4a_capture_set_{kind}_image")(capture, one)
            k4a.k4a_image_release(one)
        assert not record.k4a_record_write_capture(handle, capture)
        k4a.k4a_capture_release(capture)
    assert not record.k4a_record_flush(handle)
    record.k4a_record_close(handle)
    print(json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": cpu() - used,
                      "bytes": os.path.getsize(out)}))


if __name__ == "__main__":
    main()
