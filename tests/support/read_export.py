"""Reads exports with tools of other people: PIL, mcap, webdataset, Open3D.

    read_export.py png|mcap|tum|webdataset|ply FOLDER

Prints JSON: what they found, by the name of the file, sample or topic. Pixels are told by the
SHA-256 of what they are in memory: 16 bits little-endian, or 8 bits of red, green and blue. A JPEG is
told by the SHA-256 of its file, and must decode.
"""

import hashlib
import io
import json
import pathlib
import sys

import numpy
import PIL.Image


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def image(data):
    """An image file: its kind, size, and hash."""
    opened = PIL.Image.open(io.BytesIO(data))
    opened.load()
    told = {"mode": opened.mode, "width": opened.width, "height": opened.height}
    if opened.format == "JPEG":
        told["sha256"] = sha256(data)
    else:
        pixels = numpy.array(opened)
        assert opened.format == "PNG" and (opened.mode == "RGB" or pixels.max() < 65536)
        pixels = pixels.astype("u1" if opened.mode == "RGB" else "<u2")
        told["sha256"] = sha256(pixels.tobytes())
    return told


def png(folder):
    files = [path for path in folder.glob("*/*/*") if path.suffix in (".png", ".jpg")]
    return {str(path.relative_to(folder)): image(path.read_bytes()) for path in files}


def mcap(folder):
    import importlib

    from google.protobuf.unknown_fields import UnknownFieldSet
    from mcap.reader import make_reader
    from mcap_protobuf.decoder import DecoderFactory

    with open(folder / "take.mcap", "rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        summary = reader.get_summary()
        attachments = {one.name: sha256(one.data) for one in reader.iter_attachments()}
        topics = {}
        last = 0
        for schema, channel, message, decoded in reader.iter_decoded_messages():
            assert message.log_time >= last, "messages come in order"
            last = message.log_time
            stamp = decoded.timestamp.seconds * 10**9 + decoded.timestamp.nanos
            assert stamp == message.log_time
            told = {"time_ns": stamp, "frame_id": getattr(decoded, "frame_id", None)}
            package, name = schema.name.split(".")
            if package == "foxglove":
                # What we say of a message is what Foxglove's own classes know of it.
                module = importlib.import_module(f"foxglove_schemas_protobuf.{name}_pb2")
                known = getattr(module, name).FromString(message.data)
                assert str(known) == str(decoded) and not len(UnknownFieldSet(known))
            if name == "CompressedImage":
                told |= image(decoded.data) | {"format": decoded.format}
            elif name == "RawImage":
                assert decoded.step == decoded.width * 2
                assert len(decoded.data) == decoded.step * decoded.height
                told |= {"encoding": decoded.encoding, "sha256": sha256(decoded.data)}
            elif name == "CameraCalibration":
                told |= {"K": list(decoded.K), "D": list(decoded.D), "P": list(decoded.P)}
                told |= {"width": decoded.width, "height": decoded.height}
            elif name == "PointCloud":
                told |= {"points": len(decoded.data) // decoded.point_stride}
                told |= {"fields": [field.name for field in decoded.fields]}
            elif name == "FrameTransform":
                told |= {"parent": decoded.parent_frame_id, "child": decoded.child_frame_id}
                told |= {"x": decoded.translation.x}
            elif name == "Imu":
                told |= {"z": decoded.linear_acceleration.z}
            topics.setdefault(channel.topic, {"schema": schema.name, "messages": []})
            topics[channel.topic]["messages"].append(told)
        counted = summary.statistics.message_count
        assert counted == sum(len(topic["messages"]) for topic in topics.values())
    return {"topics": topics, "attachments": attachments}


def tum(folder):
    import open3d

    found = {}
    for sequence in (path for path in folder.iterdir() if path.is_dir()):
        pairs = []
        for line in (sequence / "associations.txt").read_text().splitlines():
            _, color, _, depth = line.split()
            color = open3d.io.read_image(str(sequence / color))
            raw = open3d.io.read_image(str(sequence / depth))
            pair = open3d.geometry.RGBDImage.create_from_tum_format(color, raw)
            metres = numpy.asarray(pair.depth)
            units = numpy.asarray(raw)
            assert units.dtype == numpy.uint16
            # Its reader takes 5000 units for a metre, and drops what is beyond four.
            near = units < 4 * 5000
            assert numpy.allclose(metres[near], units[near] / 5000.0)
            assert metres.shape == numpy.asarray(pair.color).shape
            told = {"line": line, "width": metres.shape[1], "height": metres.shape[0]}
            told["depth_sha256"] = sha256((units // 5).astype("<u2").tobytes())
            told["whole_millimetres"] = bool((units % 5 == 0).all())
            pairs.append(told)
        times = {}
        for name in ("rgb.txt", "depth.txt", "accelerometer.txt", "gyroscope.txt"):
            table = numpy.atleast_1d(numpy.genfromtxt(sequence / name, usecols=0))
            assert (numpy.diff(table) > 0).all()
            times[name] = len(table)
        found[sequence.name] = {"pairs": pairs, "times": times}
    return found


def webdataset(folder):
    import webdataset as wds

    shards = sorted(str(path) for path in folder.glob("*.tar"))
    samples = {}
    for sample in wds.WebDataset(shards, shardshuffle=False):
        files = {}
        for key, value in sample.items():
            if key.endswith((".jpg", ".png")):
                files[key] = image(value)
            elif key == "json":
                files[key] = json.loads(value)
        assert sample["__key__"] not in samples
        samples[sample["__key__"]] = files
    return {"shards": [pathlib.Path(shard).name for shard in shards], "samples": samples}


def ply(folder):
    import open3d

    clouds = {}
    for path in folder.glob("*/*.ply"):
        cloud = open3d.io.read_point_cloud(str(path))
        points = numpy.asarray(cloud.points)
        told = {"points": len(points), "sha256": sha256(points.astype("<f4").tobytes())}
        if cloud.has_colors():
            colors = numpy.rint(numpy.asarray(cloud.colors) * 255).astype("u1")
            told |= {"colors_sha256": sha256(colors.tobytes()), "mean": float(colors.mean())}
        clouds[str(path.relative_to(folder))] = told
    return clouds


if __name__ == "__main__":
    read = {"png": png, "mcap": mcap, "tum": tum, "webdataset": webdataset, "ply": ply}
    json.dump(read[sys.argv[1]](pathlib.Path(sys.argv[2])), sys.stdout)
