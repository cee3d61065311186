#!/usr/bin/env python3
"""Lists, verifies and dumps a store. Python 3.11, standard library only; written from src/format/README.md alone.

    aof_reader.py list ROOT
    aof_reader.py verify ROOT             exit 0: clean; 1: damage, with file, range and reason
    aof_reader.py dump ROOT STREAM [--json]
    aof_reader.py manifest ROOT           every record of the manifest and what they add up to, as JSON

Exit 2: wrong usage, or not a store that this program can read.
"""

import hashlib
import json
import os
import sys

sys.dont_write_bytecode = True

from aof_format import ROOT_FILE, Report, has_crc32, read_file  # noqa: E402
from aof_manifest import Manifest  # noqa: E402
from aof_segment import StreamFiles  # noqa: E402


class Refused(Exception):
    """Not a store, or one that needs a newer reader."""


class Store:
    def __init__(self, root):
        self.root, self.report = root, Report(root)
        path = os.path.join(root, "ROOT")
        data = read_file(path) if os.path.isdir(root) else None
        if data is None:
            raise Refused(f"{root} holds no store: there is no file ROOT")
        value = has_crc32(ROOT_FILE, data, 0, None) if len(data) == ROOT_FILE.size else None
        if value is None or value["magic"] != b"AOFR":
            self.report.bad(path, 0, len(data), "the root file does not check")
            value = ROOT_FILE.read(data.ljust(ROOT_FILE.size, b"\0"), 0) or {"rootId": data[8:24]}
        elif value["version"] > 1 or value["featuresIncompatible"]:
            raise Refused(f"{root} needs a newer reader: version {value['version']}, features {value['featuresIncompatible']}")
        root_id = value["rootId"]
        self.manifest = Manifest(root, root_id, self.report)
        self.streams = []
        for stream in sorted(self.manifest.streams.values(), key=lambda stream: stream.id):
            if stream.name is None:
                self.report.bad(self.manifest.path, 0, 0, f"stream {stream.id} has records and no name")
            else:
                self.streams.append(StreamFiles(self.report, root, root_id, stream))


# ---- commands ---------------------------------------------------------------------------------------------------------


def print_report(report):
    for path, why in report.notes:
        print(f"note {path}: {why}")
    for path, start, end, why in report.damage:
        print(f"DAMAGE {path} [{start}, {end}): {why}")


def command_list(store):
    for files in store.streams:
        count = sum(1 for _ in files.records())
        print(f"stream {files.stream.id} {files.stream.name}: {count} records, {len(files.segments)} segments")
        if files.stream.trim:
            print(f"  trimmed before {files.stream.trim['firstRecordId']}")
        for segment in files.segments:
            state = "sealed" if segment.footer else "open"
            records = sum(head["recordCount"] for head, _ in segment.frames)
            print(f"  segment {segment.index:10d} {state:6} {records:9d} records {segment.end:10d} bytes of frames")
    return 0


def command_verify(store):
    print_report(store.report)
    records = sum(1 for files in store.streams for _ in files.records())
    verdict = f"{len(store.report.damage)} damaged ranges" if store.report.damage else "clean"
    print(f"{verdict}: {len(store.streams)} streams, {records} records, {store.manifest.count} manifest records")
    return 1 if store.report.damage else 0


def command_dump(store, name, as_json):
    files = next((files for files in store.streams if files.stream.name == name), None)
    if files is None:
        raise Refused(f"there is no stream {name}")
    for record in files.records():
        digest = hashlib.sha256(record.payload).hexdigest()
        row = {
            "recordId": record.id,
            "recordNumber": record.number,
            "timestampMs": record.timestamp,
            "extId": str(record.ext_id),
            "bytes": len(record.payload),
            "sha256": digest,
        }
        print(json.dumps(row) if as_json else " ".join(str(value) for value in row.values()))
    return 0


def command_manifest(root):
    """Needs no more than the files of the manifest: the root file tells only whose they are."""
    data = read_file(os.path.join(root, "ROOT"))
    value = ROOT_FILE.read(data, 0) if data else None
    if value is None:
        raise Refused(f"{root} holds no store: there is no file ROOT")
    print(json.dumps(Manifest(root, value["rootId"], Report(root)).describe()))
    return 0


def main(arguments):
    flags = [argument for argument in arguments if argument.startswith("--")]
    words = [argument for argument in arguments if not argument.startswith("--")]
    wanted = {"list": 2, "verify": 2, "dump": 3, "manifest": 2}
    is_right = bool(words) and wanted.get(words[0]) == len(words)
    if not is_right or any(flag != "--json" or words[0] != "dump" for flag in flags):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    try:
        if words[0] == "manifest":
            return command_manifest(words[1])
        store = Store(words[1])
        if words[0] == "list":
            return command_list(store)
        return command_verify(store) if words[0] == "verify" else command_dump(store, words[2], bool(flags))
    except Refused as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
