"""What Microsoft's library makes of calibrated images, on the processor.

    transformation.py ORACLE CALIBRATION DEPTH_MODE COLOR_MODE FOLDER TIMES

ORACLE is k4a_oracle.py, which knows the library; modes are numbers of Microsoft's enumerations.
FOLDER holds points.f32 (x, y, z in the depth camera's frame, mm), pixels.f32 (x, y, depth of the
depth camera), color_pixels.f32 (the same of the color camera), depth.u16 and color.bgra. Into it go

    projected.f32 color_projected.f32   for each point: x, y, valid; in the depth, the color camera
    rays.f32 color_rays.f32             for each pixel: x, y, z, valid; in the camera's own frame
    to_color.f32                        for each pixel: x, y, z, valid; in the color camera's frame
    cloud.i16 depth_in_color.u16 color_in_depth.bgra color_cloud.i16

and a line of JSON to standard output: the parameters of both cameras, where one is from the other,
and how many milliseconds each call took, the least of TIMES.
"""

import ctypes as C
import importlib.util
import json
import os
import sys
import time

DEPTH, COLOR = 0, 1
BGRA, DEPTH16, CUSTOM = 3, 4, 8
# The library's own door asks for a GPU where both cameras are on. Behind it is one that does not
# need to, at the end of a jump: `mov esi, 1; jmp transformation_create`.
DOOR = bytes([0xBE, 1, 0, 0, 0, 0xE9])


def on_the_processor(k4a):
    door = C.cast(k4a.k4a_transformation_create, C.c_void_p).value
    code = C.string_at(door, len(DOOR) + 4)
    assert code.startswith(DOOR), f"a libk4a that is built otherwise: {code.hex()}"
    jump = int.from_bytes(code[len(DOOR):], "little", signed=True)
    create = C.CFUNCTYPE(C.c_void_p, C.c_void_p, C.c_bool)(door + len(code) + jump)
    return lambda calibration: create(C.addressof(calibration), False)


class Floats:
    """Lists of so many floats each, from a file or for one."""

    def __init__(self, path, each, count=None):
        self.path, self.each = path, each
        data = open(path, "rb").read() if count is None else bytes(4 * each * count)
        self.count = len(data) // (4 * each)
        self.data = (C.c_float * (each * self.count)).from_buffer_copy(data)

    def at(self, index):
        return C.byref(self.data, 4 * self.each * index)

    def set(self, index, values):
        self.data[self.each * index:self.each * (index + 1)] = values

    def write(self):
        open(self.path, "wb").write(bytes(self.data))


def project(k4a, calibration, points, target, path):
    out = Floats(path, 3, points.count)
    seen, valid = (C.c_float * 2)(), C.c_int()
    for index in range(points.count):
        failed = k4a.k4a_calibration_3d_to_2d(
            C.byref(calibration), points.at(index), DEPTH, target, seen, C.byref(valid))
        assert not failed
        out.set(index, [*seen, valid.value])
    out.write()


def unproject(k4a, calibration, pixels, source, target, path):
    out = Floats(path, 4, pixels.count)
    point, valid = (C.c_float * 3)(), C.c_int()
    for index in range(pixels.count):
        failed = k4a.k4a_calibration_2d_to_3d(
            C.byref(calibration), pixels.at(index), C.c_float(pixels.data[3 * index + 2]),
            source, target, point, C.byref(valid))
        assert not failed
        out.set(index, [*point, valid.value])
    out.write()


class Image:
    def __init__(self, oracle, k4a, kind, camera, pixel_bytes, path):
        width, height = camera.resolution_width, camera.resolution_height
        self.size = width * height * pixel_bytes
        # Aligned as the library's own images are: it reads sixteen bytes at once.
        room = (C.c_uint8 * (self.size + 64))()
        self.room, self.start = room, -C.addressof(room) % 64
        self.path = path
        if os.path.exists(path):
            data = open(path, "rb").read()
            assert len(data) == self.size, path
            C.memmove(self.address(), data, self.size)
        self.handle = C.c_void_p()
        failed = k4a.k4a_image_create_from_buffer(
            kind, width, height, width * pixel_bytes, C.c_void_p(self.address()),
            C.c_size_t(self.size), oracle.DESTROY_CB(), None, C.byref(self.handle))
        assert not failed

    def address(self):
        return C.addressof(self.room) + self.start

    def write(self):
        open(self.path, "wb").write(C.string_at(self.address(), self.size))


def pinhole(camera):
    names = "cx cy fx fy k1 k2 k3 k4 k5 k6 codx cody p2 p1".split()
    return {
        **dict(zip(names, camera.intrinsics.parameters)),
        "width": camera.resolution_width,
        "height": camera.resolution_height,
        "metric_radius": camera.metric_radius,
    }


def pose(extrinsics):
    return {"rotation": list(extrinsics.rotation), "translation_mm": list(extrinsics.translation)}


def main():
    oracle_path, calibration_path, depth_mode, color_mode, folder, times = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("oracle", oracle_path)
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)
    os.environ.setdefault("K4A_LOG_LEVEL", "c")
    # The library prints to standard output, which is ours.
    out = os.dup(1)
    os.dup2(2, 1)
    k4a = oracle.Lib().k4a
    raw = open(calibration_path, "rb").read() + b"\0"
    calibration = oracle.Calibration()
    failed = k4a.k4a_calibration_get_from_raw(
        C.c_char_p(raw), C.c_size_t(len(raw)), int(depth_mode), int(color_mode),
        C.byref(calibration))
    assert not failed, "the calibration is refused"
    depth, color = calibration.depth_camera_calibration, calibration.color_camera_calibration
    at = lambda name: os.path.join(folder, name)

    points = Floats(at("points.f32"), 3)
    project(k4a, calibration, points, DEPTH, at("projected.f32"))
    project(k4a, calibration, points, COLOR, at("color_projected.f32"))
    pixels, color_pixels = Floats(at("pixels.f32"), 3), Floats(at("color_pixels.f32"), 3)
    unproject(k4a, calibration, pixels, DEPTH, DEPTH, at("rays.f32"))
    unproject(k4a, calibration, pixels, DEPTH, COLOR, at("to_color.f32"))
    unproject(k4a, calibration, color_pixels, COLOR, COLOR, at("color_rays.f32"))

    transformation = C.c_void_p(on_the_processor(k4a)(calibration))
    assert transformation.value, "no transformation"
    image = lambda kind, camera, pixel_bytes, name: Image(
        oracle, k4a, kind, camera, pixel_bytes, at(name))
    depth_image = image(DEPTH16, depth, 2, "depth.u16")
    color_image = image(BGRA, color, 4, "color.bgra")
    cloud = image(CUSTOM, depth, 6, "cloud.i16")
    color_cloud = image(CUSTOM, color, 6, "color_cloud.i16")
    depth_in_color = image(DEPTH16, color, 2, "depth_in_color.u16")
    color_in_depth = image(BGRA, depth, 4, "color_in_depth.bgra")
    calls = {
        "cloud": lambda: k4a.k4a_transformation_depth_image_to_point_cloud(
            transformation, depth_image.handle, DEPTH, cloud.handle),
        "depth_into_color": lambda: k4a.k4a_transformation_depth_image_to_color_camera(
            transformation, depth_image.handle, depth_in_color.handle),
        "color_into_depth": lambda: k4a.k4a_transformation_color_image_to_depth_camera(
            transformation, depth_image.handle, color_image.handle, color_in_depth.handle),
        "color_cloud": lambda: k4a.k4a_transformation_depth_image_to_point_cloud(
            transformation, depth_in_color.handle, COLOR, color_cloud.handle),
    }
    took_ms = {}
    for name, call in calls.items():
        for _ in range(int(times)):
            begun = time.perf_counter()
            assert not call(), name
            took = 1e3 * (time.perf_counter() - begun)
            took_ms[name] = min(took, took_ms.get(name, took))
    for result in (cloud, color_cloud, depth_in_color, color_in_depth):
        result.write()
    line = json.dumps({
        "depth": pinhole(depth),
        "color": pinhole(color),
        "color_from_depth": pose(calibration.extrinsics[DEPTH][COLOR]),
        "depth_from_color": pose(calibration.extrinsics[COLOR][DEPTH]),
        "took_ms": took_ms,
    })
    os.write(out, (line + "\n").encode())


main()
