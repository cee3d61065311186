"""Layouts and checksums of src/format/README.md, and what a check of them found."""

import os
import struct
import zlib

BLOCK_BYTES = 1536
SLOT_OFFSETS = (512, 1024)
SPAN = 2**28
STRIDE = 65536


# ---- layouts ----------------------------------------------------------------------------------------------------------

SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "safe": 8}


class Layout:
    """A structure given as `name:type`, where a number as type is a run of bytes and `z` with a number is zeros."""

    def __init__(self, text):
        self.fields, offset = [], 0
        for part in text.split():
            name, kind = part.split(":")
            size = SIZES[kind] if kind in SIZES else int(kind.lstrip("z"))
            self.fields.append((name, kind, offset, size))
            offset += size
        self.size = offset

    def at(self, wanted):
        return next(offset for name, _, offset, _ in self.fields if name == wanted)

    def read(self, data, start):
        """The fields as a dictionary; None when it does not fit, or a value is not allowed."""
        if start < 0 or start + self.size > len(data):
            return None
        value = {}
        for name, kind, offset, size in self.fields:
            raw = bytes(data[start + offset : start + offset + size])
            if kind.startswith("z"):
                if any(raw):
                    return None
            elif kind in SIZES:
                value[name] = int.from_bytes(raw, "little")
                if kind == "safe" and value[name] >= 2**53:
                    return None
            else:
                value[name] = raw
        return value


ROOT_FILE = Layout(
    "magic:4 version:u32 rootId:16 featuresIncompatible:u32 featuresCompatible:u32 createdMs:safe spare:z20 checksum:u32"
)
SEGMENT_HEADER = Layout(
    "magic:4 version:u16 headerBytes:u16 rootId:16 streamId:safe segmentIndex:u32 fileGeneration:u32 writerEpoch:safe "
    "firstRecordNumber:safe baseOffset:safe extIdMax:u64 timestampMsMax:safe commitMode:u32 spare:z4 journalPosition:safe "
    "createdMs:safe checksumSeed:u32 checksum:u32"
)
WATERMARK_SLOT = Layout(
    "sequence:safe watermark:safe nextRecordNumber:safe lastRecordId:safe lastTimestampMs:safe timestampMsMax:safe "
    "extIdMax:u64 coordinatorWatermark:u64 spare:z4 checksum:u32"
)
FRAME_HEADER = Layout(
    "checksum:u32 lengthBytes:u32 offset:u32 recordCount:u32 firstRecordNumber:safe timestampMs:safe watermark:safe "
    "flags:u16 headerBytes:u16 lastRecordDistance:u32 batchOffset:u32 spare:z4"
)
RECORD_HEADER = Layout("lengthAndFlags:u32 frameDistance:u16 timestampDelta:u16")
INDEX_ENTRY = Layout("frameOffset:u32 spare:z4 firstRecordNumber:safe timestampMsMax:safe extIdMax:u64")
PRODUCER_ENTRY = Layout("producerId:u64 producerEpoch:safe sequence:safe lastRecordId:safe")
SEGMENT_FOOTER = Layout(
    "magic:4 version:u16 flags:u16 streamId:safe segmentIndex:u32 fileGeneration:u32 firstRecordNumber:safe "
    "recordCount:safe durableBytes:u32 indexOffset:u32 indexCount:u32 producerCount:u32 lastRecordId:safe "
    "firstTimestampMs:safe lastTimestampMs:safe timestampMsMax:safe extIdMax:u64 coordinatorWatermark:u64 "
    "writerEpoch:safe sealedMs:safe spare:z24 tailChecksum:u32 checksum:u32 checksum64:u64"
)
POINTER = Layout(
    "magic:4 version:u32 streamId:safe segmentIndex:u32 durableBytes:u32 coordinatorWatermark:u64 spare:z28 checksum:u32"
)
MANIFEST_HEADER = Layout(
    "magic:4 version:u16 kind:u16 rootId:16 chunkSequence:safe firstRecordSequence:safe createdMs:safe spare:z12 checksum:u32"
)
COMMIT_SLOT = Layout("sequence:safe committedBytes:safe recordCount:safe checksum64:u64 spare:z4 checksum:u32")
MANIFEST_RECORD = Layout(
    "lengthBytes:u32 type:u16 reasonCode:u16 sequence:safe timestampMs:safe streamId:safe checksum64:u64"
)
OPENED = Layout("segmentIndex:u32 fileGeneration:u32 firstRecordNumber:safe baseOffset:safe")
SEAL = Layout(
    "segmentIndex:u32 fileGeneration:u32 firstRecordNumber:safe recordCount:safe baseOffset:safe durableBytes:u32 "
    "fileBytes:u32 flags:u16 spare:z2 checksumSeed:u32 lastRecordId:safe firstTimestampMs:safe lastTimestampMs:safe "
    "timestampMsMax:safe extIdMax:u64 coordinatorWatermark:u64 sealedMs:safe checksum64:u64"
)
TRIM = Layout("firstRecordId:safe firstRecordNumber:safe")
MARKER = Layout("coversSequence:safe nextStreamId:safe streamCount:safe recordCount:safe")
CREATED = Layout("nameBytes:u32 spare:z4")

FILE = "segmentIndex:u32 fileGeneration:u32 "
HYDRATION = "segmentIndex:u32 fromTier:u8 toTier:u8 spare:z2 "

# Number: name of the type, its table (None: no payload).
PAYLOADS = {
    0: ("SegmentOpened", OPENED),
    1: ("SealSegment", SEAL),
    2: ("CompressionStarted", Layout(FILE + "level:u32 spare:z4")),
    3: (
        "CompressionDone",
        Layout(
            FILE + "level:u32 frameBytes:u32 frameCount:u32 tailOffset:u32 fileBytes:u32 spare:z4 checksum64:u64"
        ),
    ),
    4: ("CompressionFailed", Layout(FILE + "attempts:u32 spare:z4")),
    5: ("UploadStarted", Layout(FILE + "writerEpoch:safe keyBytes:u16 spare:z6")),
    6: (
        "UploadDone",
        Layout(FILE + "writerEpoch:safe offset:safe lengthBytes:safe checksum64:u64 keyBytes:u16 etagBytes:u16 spare:z4"),
    ),
    7: ("UploadFailed", Layout(FILE + "attempts:u32 keyBytes:u16 spare:z2")),
    8: ("Tier2DeleteQueued", Layout("segmentIndex:u32 keyBytes:u16 spare:z2 notBeforeMs:safe")),
    9: ("Tier2Deleted", Layout("segmentIndex:u32 keyBytes:u16 spare:z2")),
    10: ("HydrationStarted", Layout(HYDRATION)),
    11: ("HydrationDone", Layout(HYDRATION + "bytes:safe durationMs:safe")),
    12: ("HydrationFailed", Layout(HYDRATION + "attempts:u32 spare:z4")),
    13: ("LocalEvicted", Layout("segmentIndex:u32 tier:u8 spare:z3 bytes:safe")),
    14: ("SnapshotMarker", MARKER),
    15: ("CustomEvent", Layout("kind:u32 payloadBytes:u32")),
    16: ("Trim", TRIM),
    17: ("Epoch", Layout("epoch:safe nonce:16")),
    18: ("StreamCreated", CREATED),
    19: ("StreamDeleted", None),
}

# Length in a table: name of what follows, fewest and most bytes.
PARTS = {
    "keyBytes": ("key", 1, 1024),
    "etagBytes": ("etag", 0, 256),
    "nameBytes": ("name", 1, 8192),
    "payloadBytes": ("payload", 0, 4096),
}

REASONS = (
    "None Budget Retention Trim StreamDeleted Requested Missing Corrupt Unavailable Interrupted Idle Closed"
).split()

# ---- checksums --------------------------------------------------------------------------------------------------------

_tables = []


def crc64(data):
    """CRC-64/NVME, two bytes a lookup, eight bytes a step."""
    if not _tables:
        _make_tables()
    mask = 2**64 - 1
    crc, body = mask, len(data) & ~7
    a, b, c, d = _tables[1:]
    for (word,) in struct.iter_unpack("<Q", data[:body]):
        crc ^= word
        crc = a[crc & 0xFFFF] ^ b[crc >> 16 & 0xFFFF] ^ c[crc >> 32 & 0xFFFF] ^ d[crc >> 48]
    for byte in data[body:]:
        crc = _tables[0][(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ mask


def _make_tables():
    first = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x9A6C9329AC4BC9B5 if value & 1 else 0)
        first.append(value)
    rows = [first]
    for _ in range(7):
        rows.append([first[value & 0xFF] ^ value >> 8 for value in rows[-1]])
    _tables.append(first)
    for low, high in ((7, 6), (5, 4), (3, 2), (1, 0)):
        _tables.append([rows[low][value & 0xFF] ^ rows[high][value >> 8] for value in range(65536)])


def has_crc32(layout, data, start, magic, seed=0):
    """The structure at `start` when it checks: magic, version 1, CRC-32 of the bytes before its checksum."""
    value = layout.read(data, start)
    if value is None or (magic is not None and (value["magic"] != magic or value["version"] != 1)):
        return None
    covered = data[start : start + layout.at("checksum")]
    return value if value["checksum"] == zlib.crc32(covered, seed) else None


def is_zero(data):
    return not any(data)


# ---- what is found ----------------------------------------------------------------------------------------------------


class Report:
    def __init__(self, root):
        self.root, self.damage, self.notes = root, [], []

    def bad(self, path, start, end, why):
        self.damage.append((os.path.relpath(path, self.root), start, end, why))

    def note(self, path, why):
        self.notes.append((os.path.relpath(path, self.root), why))


def read_file(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def names_in(path):
    return sorted(os.listdir(path)) if os.path.isdir(path) else []


def check_gaps(report, path, data, used):
    """The bytes of a header block between its structures are zero."""
    at = 0
    for start, size in [*used, (BLOCK_BYTES, 0)]:
        if not is_zero(data[at:start]):
            report.bad(path, at, start, "bytes between structures are not zero")
        at = start + size
