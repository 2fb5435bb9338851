#!/usr/bin/env python3
"""What Microsoft's libk4a sees of a camera, as lines of JSON.

    witness.py FOLDER_OF_LIBRARIES CAPTURES

Opens the first camera, starts 720p MJPG, NFOV 2x2-binned depth and IMU at 5 fps, and prints who the
camera is, then every image with its device time and SHA-256, and every IMU sample. The folder holds
libk4a, the libudev that came with it, and a libdepthengine.so.2.0. Exit status: 0 when so many
captures with all three images came, else 1.
"""

import ctypes as C
import glob
import hashlib
import json
import sys
import time

CAPTURE_WAIT_MS, IMU_WAIT_MS = 15_000, 0
SUCCEEDED = 0


class Configuration(C.Structure):
    _fields_ = [("color_format", C.c_int), ("color_resolution", C.c_int), ("depth_mode", C.c_int),
                ("fps", C.c_int), ("synchronized_only", C.c_bool), ("depth_delay_us", C.c_int32),
                ("sync_mode", C.c_int), ("subordinate_delay_us", C.c_uint32),
                ("no_indicator", C.c_bool)]


class Sample(C.Structure):
    _fields_ = [("temperature", C.c_float), ("accelerometer", C.c_float * 3),
                ("accelerometer_us", C.c_uint64), ("gyroscope", C.c_float * 3),
                ("gyroscope_us", C.c_uint64)]


def load(folder):
    k4a = C.CDLL(glob.glob(folder + "/libk4a-*.so*")[0])
    for name in ("k4a_capture_get_color_image", "k4a_capture_get_depth_image",
                 "k4a_capture_get_ir_image", "k4a_image_get_buffer"):
        function = getattr(k4a, name)
        function.restype, function.argtypes = C.c_void_p, [C.c_void_p]
    for name in ("k4a_image_get_size", "k4a_image_get_device_timestamp_usec"):
        function = getattr(k4a, name)
        function.restype, function.argtypes = C.c_uint64, [C.c_void_p]
    return k4a


def require(name, result):
    if result != SUCCEEDED:
        sys.exit(f"{name} gives {result}")


def who(k4a, device):
    serial, size = C.create_string_buffer(64), C.c_size_t(64)
    require("k4a_device_get_serialnum", k4a.k4a_device_get_serialnum(device, serial, C.byref(size)))
    calibration, size = C.create_string_buffer(1 << 20), C.c_size_t(1 << 20)
    require("k4a_device_get_raw_calibration",
            k4a.k4a_device_get_raw_calibration(device, calibration, C.byref(size)))
    sync_in, sync_out = C.c_bool(), C.c_bool()
    require("k4a_device_get_sync_jack",
            k4a.k4a_device_get_sync_jack(device, C.byref(sync_in), C.byref(sync_out)))
    return {"serial": serial.value.decode(), "calibration": hashlib.sha256(calibration.value).hexdigest(),
            "sync_in": sync_in.value, "sync_out": sync_out.value}


def images(k4a, capture):
    """Prints the images of a capture; says whether all three are there."""
    found = 0
    for track in ("color", "depth", "ir"):
        image = getattr(k4a, f"k4a_capture_get_{track}_image")(capture)
        if not image:
            continue
        found += 1
        content = C.string_at(k4a.k4a_image_get_buffer(image), k4a.k4a_image_get_size(image))
        print(json.dumps({"track": track, "device_us": k4a.k4a_image_get_device_timestamp_usec(image),
                          "sha256": hashlib.sha256(content).hexdigest()}))
        k4a.k4a_image_release(C.c_void_p(image))
    return found == 3


def samples(k4a, device):
    sample = Sample()
    while k4a.k4a_device_get_imu_sample(device, C.byref(sample), IMU_WAIT_MS) == SUCCEEDED:
        print(json.dumps({"track": "imu", "device_us": sample.accelerometer_us,
                          "accelerometer": list(sample.accelerometer),
                          "gyroscope": list(sample.gyroscope)}))


def main(folder, wanted):
    k4a = load(folder)
    device, capture = C.c_void_p(), C.c_void_p()
    require("k4a_device_open", k4a.k4a_device_open(0, C.byref(device)))
    print(json.dumps({"cameras": k4a.k4a_device_get_installed_count(), **who(k4a, device)}))
    # MJPG, 720p, NFOV 2x2-binned, 5 fps, standalone.
    configuration = Configuration(0, 1, 1, 0, False, 0, 0, 0, False)
    require("k4a_device_start_cameras",
            k4a.k4a_device_start_cameras(device, C.byref(configuration)))
    require("k4a_device_start_imu", k4a.k4a_device_start_imu(device))
    whole, begun = 0, time.monotonic()
    while whole < wanted and time.monotonic() - begun < 120:
        if k4a.k4a_device_get_capture(device, C.byref(capture), CAPTURE_WAIT_MS) != SUCCEEDED:
            break
        whole += images(k4a, capture)
        k4a.k4a_capture_release(capture)
        samples(k4a, device)
    k4a.k4a_device_stop_imu(device)
    k4a.k4a_device_stop_cameras(device)
    k4a.k4a_device_close(device)
    if whole < wanted:
        sys.exit(f"{whole} of {wanted} captures")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
