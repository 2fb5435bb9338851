"""Opens many recordings with Microsoft's library, and reads each to its end.

    open_all.py ORACLE < LIST_OF_FILES

ORACLE is k4a_oracle.py, which knows the library. Prints a line of JSON for each file. A process for
each: the library can crash on damaged files, and hang.
"""

import importlib.util
import json
import os
import signal
import sys

SECONDS_MAX = 60

# It reads clusters ahead in threads of its own, and on a busy machine it was seen to abort over a
# sound file, once in some thousand files. Over a file that is at fault it does so every time.
TRIES = 3


def read(oracle, lib, path):
    playback = oracle.Playback(lib, path)
    if not playback.ok:
        return {"error": "it is refused"}
    ends, counts, times = {}, {}, {}
    for name, following in (
        ("captures", lambda: playback.capture(hash_images=False)),
        ("samples", playback.imu),
    ):
        counts[name] = 0
        while True:
            result, item = following()
            if result != oracle.STREAM_OK:
                break
            counts[name] += 1
            if name == "captures":
                for kind, image in item.items():
                    times[kind] = image["device_timestamp_usec"]
        ends[name] = oracle.STREAM_NAMES[result]
    imu = playback.config()["imu_track_enabled"]
    playback.close()
    if ends["captures"] != "eof" or (imu and ends["samples"] != "eof"):
        return {"error": f"it cannot be read to its end: {ends}, after {counts}"}
    return {**counts, "last_us": times}


def main():
    spec = importlib.util.spec_from_file_location("oracle", sys.argv[1])
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)
    os.environ.setdefault("K4A_LOG_LEVEL", "c")
    # The library prints to standard output, which is ours.
    out = os.dup(1)
    os.dup2(2, 1)
    lib = oracle.Lib()
    for path in sys.stdin.read().splitlines():
        for _ in range(TRIES):
            child = os.fork()
            if child == 0:
                signal.alarm(SECONDS_MAX)
                line = json.dumps(read(oracle, lib, path)) + "\n"
                os.write(out, line.encode())
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if status == 0:
                break
        else:
            line = json.dumps({"error": f"the library ended with status {status}"}) + "\n"
            os.write(out, line.encode())


main()
