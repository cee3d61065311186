"""Reads and verifies segments and their records."""

import os
import re
import struct
import zlib

from aof_format import (
    BLOCK_BYTES,
    FRAME_HEADER,
    INDEX_ENTRY,
    POINTER,
    PRODUCER_ENTRY,
    RECORD_HEADER,
    SEGMENT_FOOTER,
    SEGMENT_HEADER,
    SLOT_OFFSETS,
    SPAN,
    STRIDE,
    WATERMARK_SLOT,
    check_gaps,
    crc64,
    has_crc32,
    is_zero,
    names_in,
    read_file,
)


class Record:
    __slots__ = ("id", "number", "timestamp", "ext_id", "flags", "payload")


def parse_frame(data, at, end, seed, base):
    """Header and records of the frame at `at`, when it checks; None when not."""
    head = FRAME_HEADER.read(data, at) if at + FRAME_HEADER.size <= end else None
    if head is None or head["offset"] != at or head["recordCount"] == 0:
        return None
    length = head["lengthBytes"]
    wanted = 88 if head["flags"] & 2 else 56
    if head["headerBytes"] != wanted or length <= wanted or at + length > end:
        return None
    if zlib.crc32(data[at + 4 : at + length], seed) != head["checksum"]:
        return None
    records, place = [], at + wanted
    for number in range(head["recordCount"]):
        header = RECORD_HEADER.read(data, place)
        if header is None or header["frameDistance"] != place - at:
            return None
        record = Record()
        record.id, record.number = base + place, head["firstRecordNumber"] + number
        record.flags = header["lengthAndFlags"] >> 28
        place += RECORD_HEADER.size
        record.ext_id, record.timestamp = 0, head["timestampMs"] + header["timestampDelta"]
        if record.flags & 1:
            record.ext_id = int.from_bytes(data[place : place + 8], "little")
            place += 8
        if record.flags & 2:
            record.timestamp = int.from_bytes(data[place : place + 8], "little")
            place += 8
        size = header["lengthAndFlags"] & 0x0FFFFFFF
        record.payload = data[place : place + size]
        place += size
        records.append(record)
    if place != at + length or records[-1].id - base - at != head["lastRecordDistance"]:
        return None
    return head, records


def parse_batch(data, at, end, seed, base):
    """All frames of the batch at `at` and where it ends; None when one does not check."""
    frames, start = [], at
    while True:
        frame = parse_frame(data, at, end, seed, base)
        if frame is None or frame[0]["batchOffset"] != start:
            return None
        frames.append(frame)
        finish = at + frame[0]["lengthBytes"]
        at = (finish + 7) & ~7
        if at > end or not is_zero(data[finish:at]):
            return None
        if not frame[0]["flags"] & 1:
            return frames, at


class Segment:
    def __init__(self, report, path, index, seal, stream, root_id):
        self.report, self.path, self.index, self.seal = report, path, index, seal
        self.data, self.frames, self.bad_spots = read_file(path) or b"", [], []
        self.base, self.end, self.footer, self.slot, self.watermark = index * SPAN, BLOCK_BYTES, None, None, 0
        self.header = has_crc32(SEGMENT_HEADER, self.data, 0, b"AOFS")
        if self.header is None:
            return
        head = self.header
        if (head["rootId"], head["streamId"], head["segmentIndex"]) != (root_id, stream.id, index):
            report.bad(path, 0, SEGMENT_HEADER.size, "the header names another root, stream or segment")
        self.seed = head["checksumSeed"]
        self.read_slots()
        self.read_footer()
        self.walk(self.footer["durableBytes"] if self.footer else len(self.data))

    def read_slots(self):
        used = [(0, SEGMENT_HEADER.size)]
        for start in SLOT_OFFSETS:
            slot = has_crc32(WATERMARK_SLOT, self.data, start, None, self.seed)
            used.append((start, WATERMARK_SLOT.size))
            if slot is None and not is_zero(self.data[start : start + WATERMARK_SLOT.size]):
                self.report.note(self.path, f"the watermark slot at {start} does not check")
            if slot is not None and (self.slot is None or slot["sequence"] > self.slot["sequence"]):
                self.slot = slot
        check_gaps(self.report, self.path, self.data, used)
        self.watermark = self.slot["watermark"] if self.slot else 0

    def read_footer(self):
        at = len(self.data) - SEGMENT_FOOTER.size
        footer = has_crc32(SEGMENT_FOOTER, self.data, at, b"AOFF", self.seed)
        same = ("streamId", "segmentIndex", "fileGeneration")
        if footer is not None and all(footer[name] == self.header[name] for name in same):
            self.footer = footer if BLOCK_BYTES <= footer["durableBytes"] <= footer["indexOffset"] <= at else None

    def walk(self, end):
        """Collects batches that check, and where they do not, with the place at which they go on."""
        at = BLOCK_BYTES
        while at < end:
            batch = parse_batch(self.data, at, end, self.seed, self.base)
            if batch is not None:
                self.frames.extend(batch[0])
                self.watermark = max([self.watermark, *(frame["watermark"] for frame, _ in batch[0])])
                at = batch[1]
                continue
            if is_zero(self.data[at:end]):
                break
            resume = at + 8
            while resume < end and not self.begins(resume, end):
                resume += 8
            self.bad_spots.append((at, min(resume, end)))
            at = resume
        self.end = at

    def begins(self, at, end):
        if self.data[at + 8 : at + 12] != struct.pack("<I", at) or self.data[at + 48 : at + 52] != struct.pack("<I", at):
            return False
        return parse_batch(self.data, at, end, self.seed, self.base) is not None

    def records(self):
        for _, records in self.frames:
            yield from records

    def check_sealed(self):
        report, path, data, footer = self.report, self.path, self.data, self.footer
        for start, end in self.bad_spots:
            report.bad(path, start, end, "frames do not check")
        if self.end < footer["durableBytes"]:
            report.bad(path, self.end, footer["durableBytes"], "frames end before the durable bytes")
        self.check_numbers()
        tail_end = len(data) - SEGMENT_FOOTER.size
        counted = footer["indexCount"] * INDEX_ENTRY.size + footer["producerCount"] * PRODUCER_ENTRY.size
        if footer["indexOffset"] + counted != tail_end:
            report.bad(path, footer["indexOffset"], tail_end, "index and producers have another length than the footer says")
        elif zlib.crc32(data[footer["indexOffset"] : tail_end], self.seed) != footer["tailChecksum"]:
            report.bad(path, footer["indexOffset"], tail_end, "index or producers do not check")
        elif not self.bad_spots:
            self.check_index()
        if crc64(data[:-8]) != footer["checksum64"]:
            report.bad(path, 0, len(data), "the checksum of the whole file does not match")
        if not self.bad_spots:
            self.check_footer()

    def check_numbers(self):
        expected, ext_id = self.header["firstRecordNumber"], self.header["extIdMax"]
        for record in self.records():
            if record.number != expected and not self.bad_spots:
                self.report.bad(self.path, record.id % SPAN, record.id % SPAN + 8, f"record number {record.number}, not {expected}")
                return
            expected = record.number + 1
            if record.flags & 1 and record.ext_id:
                if record.ext_id < ext_id:
                    self.report.bad(self.path, record.id % SPAN, record.id % SPAN + 16, "an extId goes down")
                    return
                ext_id = record.ext_id

    def check_index(self):
        """Each entry is the first frame of its stretch, with the maxima before it."""
        wanted, stretch = [], -1
        timestamp, ext_id = self.header["timestampMsMax"], self.header["extIdMax"]
        for head, records in self.frames:
            if head["offset"] // STRIDE > stretch:
                stretch = head["offset"] // STRIDE
                wanted.append((head["offset"], head["firstRecordNumber"], timestamp, ext_id))
            timestamp = max(timestamp, *(record.timestamp for record in records))
            ext_id = max(ext_id, *(record.ext_id for record in records))
        for place in range(self.footer["indexCount"]):
            start = self.footer["indexOffset"] + place * INDEX_ENTRY.size
            entry = INDEX_ENTRY.read(self.data, start)
            found = entry and (entry["frameOffset"], entry["firstRecordNumber"], entry["timestampMsMax"], entry["extIdMax"])
            if place >= len(wanted) or found != wanted[place]:
                self.report.bad(self.path, start, start + INDEX_ENTRY.size, "an index entry does not fit the frames")
                return
        if len(wanted) != self.footer["indexCount"]:
            self.report.bad(self.path, self.footer["indexOffset"], len(self.data), "the index misses a stretch")

    def check_footer(self):
        footer, records = self.footer, list(self.records())
        wanted = {
            "firstRecordNumber": self.header["firstRecordNumber"],
            "recordCount": len(records),
            "timestampMsMax": max([self.header["timestampMsMax"], *(record.timestamp for record in records)]),
            "extIdMax": max([self.header["extIdMax"], *(record.ext_id for record in records)]),
        }
        if records:
            wanted |= {"firstTimestampMs": records[0].timestamp, "lastTimestampMs": records[-1].timestamp}
        wanted["lastRecordId"] = records[-1].id if records else 0
        self.compare(wanted, footer, "the footer", len(self.data) - SEGMENT_FOOTER.size)
        if self.seal:
            shared = {name: self.seal[name] for name in self.seal if name in footer}
            self.compare(shared, footer, "the manifest", len(self.data) - SEGMENT_FOOTER.size)
            if (self.seal["fileBytes"], self.seal["checksumSeed"]) != (len(self.data), self.seed):
                self.report.bad(self.path, 0, len(self.data), "the file is not the one that the manifest names")

    def compare(self, wanted, found, who, start):
        for name, value in wanted.items():
            if found[name] != value:
                self.report.bad(self.path, start, len(self.data), f"{name} is {found[name]}, by {who} {value}")


class StreamFiles:
    """The segments of one stream, verified while they are read."""

    def __init__(self, report, root, root_id, stream):
        self.report, self.stream, self.segments = report, stream, []
        self.path = os.path.join(root, "streams", stream.name or "", "segments")
        first = stream.trim["firstRecordId"] // SPAN if stream.trim else 0
        found = {}
        for name in names_in(self.path):
            match = re.fullmatch(r"(\d{10})\.seg", name)
            if match and int(match[1]) >= first:
                found[int(match[1])] = os.path.join(self.path, name)
        trim_id = stream.trim["firstRecordId"] if stream.trim else 0
        for index, seal in sorted(stream.sealed.items()):
            is_gone = index < first or (seal["recordCount"] > 0 and seal["lastRecordId"] < trim_id)
            if index not in found and not is_gone:
                path = os.path.join(self.path, f"{index:010d}.seg")
                report.bad(path, 0, seal["fileBytes"], "the file of a sealed segment is missing")
        for index, path in sorted(found.items()):
            self.segments.append(Segment(report, path, index, stream.sealed.get(index), stream, root_id))
        self.judge()
        self.check_pointer()

    def judge(self):
        ends = [seal["segmentIndex"] * SPAN + seal["durableBytes"] for seal in self.stream.sealed.values()]
        watermark = max([0, *ends, *(segment.watermark for segment in self.segments)])
        self.watermark, has_ended = watermark, False
        kept = []
        for segment in self.segments:
            if segment.header is None:
                is_unborn = segment.seal is None and is_zero(segment.data[: SEGMENT_HEADER.size])
                is_unborn = is_unborn and watermark <= segment.base + BLOCK_BYTES
                if is_unborn:
                    self.report.note(segment.path, "a file that was never begun")
                else:
                    self.report.bad(segment.path, 0, min(len(segment.data), BLOCK_BYTES), "the segment header does not check")
                continue
            if segment.footer is not None:
                segment.check_sealed()
            elif segment.seal is not None:
                for start, end in segment.bad_spots:
                    self.report.bad(segment.path, start, end, "frames do not check")
                start = max(0, len(segment.data) - SEGMENT_FOOTER.size)
                self.report.bad(segment.path, start, len(segment.data), "the footer of a sealed segment does not check")
            elif has_ended:
                self.report.note(segment.path, "behind the end of the log: never durable")
                continue
            else:
                has_ended = self.judge_unsealed(segment, watermark)
            kept.append(segment)
        self.segments = kept

    def judge_unsealed(self, segment, watermark):
        """Bad spots below the watermark are damage; the first at or above ends the log. True when the log ends here."""
        for start, end in segment.bad_spots:
            if segment.base + start < watermark:
                self.report.bad(segment.path, start, end, "frames below the durable watermark do not check")
                continue
            segment.frames = [frame for frame in segment.frames if frame[0]["offset"] < start]
            segment.end = start
            self.report.note(segment.path, f"the log ends at {start}: what follows was never durable")
            segment.check_numbers()
            return True
        if segment.base + segment.end < watermark < segment.base + SPAN:
            end = watermark - segment.base
            self.report.bad(segment.path, segment.end, end, "the frames end below the durable watermark")
        segment.check_numbers()
        return False

    def check_pointer(self):
        path = os.path.join(self.path, "current.sealed")
        data = read_file(path)
        if data is None:
            return
        pointer = has_crc32(POINTER, data, 0, b"AOFP") if len(data) == POINTER.size else None
        if pointer is None:
            self.report.bad(path, 0, len(data), "the pointer does not check")
            return
        if pointer["streamId"] != self.stream.id:
            self.report.bad(path, 8, 16, "the pointer names another stream")
        for segment in self.segments:
            if segment.index == pointer["segmentIndex"] and segment.footer:
                if segment.footer["durableBytes"] != pointer["durableBytes"]:
                    self.report.bad(path, 20, 24, "the pointer does not agree with its segment")

    def records(self):
        first = self.stream.trim["firstRecordId"] if self.stream.trim else 0
        for segment in self.segments:
            for record in segment.records():
                if record.id >= first and not record.flags & 4:
                    yield record
