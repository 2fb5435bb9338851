"""Records with Microsoft's library what it reads from other recordings: one file for each.

    record_again.py ORACLE < LIST

ORACLE is k4a_oracle.py, which knows the library. A line of LIST is: IN OUT SKIP COUNT. Of the
captures of IN the first SKIP are left out, and COUNT recorded, with the samples of that time: as
by a k4arecorder for each device, begun and stopped one by one.
"""

import ctypes as C
import importlib.util
import os
import sys

BUILT_IN = ["K4A_DEVICE_SERIAL_NUMBER", "K4A_COLOR_FIRMWARE_VERSION", "K4A_DEPTH_FIRMWARE_VERSION"]


def device_config(oracle, playback):
    read = oracle.RecordConfig()
    playback.lib.pb_config(playback.h, C.byref(read))
    return read, oracle.DeviceConfig(
        read.color_format, read.color_resolution, read.depth_mode, read.camera_fps, False,
        read.depth_delay_off_color_usec, read.wired_sync_mode,
        read.subordinate_delay_off_master_usec, False)


def record(oracle, lib, source, target, skip, count):
    playback = oracle.Playback(lib, source)
    read, config = device_config(oracle, playback)
    writer = oracle.Writer(lib, target, config)
    assert playback.ok and writer.ok
    for name in BUILT_IN:
        value = playback.tag(name)
        if value is not None:
            assert lib.rec_tag(writer.h, name.encode(), value.encode()) == oracle.SUCCEEDED
    calibration = playback.attachment("calibration.json")
    buffer = (C.c_uint8 * len(calibration)).from_buffer_copy(calibration)
    pointer = C.cast(buffer, C.c_void_p)
    assert lib.rec_attach(writer.h, b"calibration.json", pointer, len(calibration)) == 0
    if read.imu_track_enabled:
        assert lib.rec_add_imu(writer.h) == oracle.SUCCEEDED
    assert lib.rec_header(writer.h) == oracle.SUCCEEDED
    times = []
    for place in range(skip + count):
        capture = C.c_void_p()
        assert lib.pb_next(playback.h, C.byref(capture)) == oracle.STREAM_OK
        if place >= skip:
            color = lib.get_image["color"](capture)
            times.append(lib.image_ts(color))
            lib.image_release(color)
            assert lib.rec_capture(writer.h, capture) == oracle.SUCCEEDED
        lib.capture_release(capture)
    sample = oracle.ImuSample()
    while lib.pb_next_imu(playback.h, C.byref(sample)) == oracle.STREAM_OK:
        if times[0] <= sample.acc_timestamp_usec <= times[-1]:
            assert lib.rec_imu(writer.h, sample) == oracle.SUCCEEDED
    assert lib.rec_flush(writer.h) == oracle.SUCCEEDED
    writer.close()
    playback.close()


def main():
    spec = importlib.util.spec_from_file_location("oracle", sys.argv[1])
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)
    os.environ.setdefault("K4A_LOG_LEVEL", "c")
    lib = oracle.Lib()
    for line in sys.stdin.read().splitlines():
        source, target, skip, count = line.split()
        record(oracle, lib, source, target, int(skip), int(count))


main()
