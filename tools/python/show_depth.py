"""Shows the depth of every device of a take: genlock replay TAKE --stdout | show_depth.py

Needs numpy and opencv-python. docs/replay.md describes the messages.
"""

import json
import struct
import sys

import cv2
import numpy


def messages(stream):
    """The messages of a take: the head of each, and its body."""
    while lengths := stream.read(8):
        head, body = struct.unpack("<II", lengths)
        yield json.loads(stream.read(head)), stream.read(body)


for head, body in messages(sys.stdin.buffer):
    if head["kind"] == "frame" and head["track"] == "depth":
        depth = numpy.frombuffer(body, "<u2").reshape(head["height"], head["width"])
        near = cv2.convertScaleAbs(depth, alpha=255 / 4000)  # up to 4 m
        cv2.imshow(head["device"], cv2.applyColorMap(near, cv2.COLORMAP_TURBO))
        if cv2.waitKey(1) == ord("q"):
            break
    elif head["kind"] == "lost":
        print(f"{head['device']}: {head['track']} of {head['trigger']}: {head['cause']}")
