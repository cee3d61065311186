"""Replays the manifest: which streams and sealed segments there are."""

import os
import re

from aof_format import (
    BLOCK_BYTES,
    COMMIT_SLOT,
    CREATED,
    MANIFEST_HEADER,
    MANIFEST_RECORD,
    MARKER,
    SEAL,
    SLOT_OFFSETS,
    TRIM,
    check_gaps,
    crc64,
    has_crc32,
    is_zero,
    names_in,
    read_file,
)


def read_record(data, at, end):
    """A manifest record that checks, with its payload; None when there is none."""
    head = MANIFEST_RECORD.read(data, at) if at + MANIFEST_RECORD.size <= end else None
    if head is None or head["sequence"] == 0:
        return None
    length = head["lengthBytes"]
    if length < MANIFEST_RECORD.size or length > 8192 or length % 8 or at + length > end:
        return None
    payload = bytes(data[at + MANIFEST_RECORD.size : at + length])
    if crc64(bytes(data[at : at + MANIFEST_RECORD.at("checksum64")]) + payload) != head["checksum64"]:
        return None
    head["payload"] = payload
    return head


class ManifestFile:
    """One file; `records` are those that count behind `last`, the highest sequence before it."""

    def __init__(self, report, path, data, last, durable_before):
        self.report, self.path, self.data = report, path, data
        self.records, self.last, self.durable_before = [], last, durable_before
        before = len(report.damage)
        self.header = has_crc32(MANIFEST_HEADER, data, 0, b"AOFM")
        if self.header is None and len(data) > BLOCK_BYTES:
            report.bad(path, 0, 512, "the header does not check")
        slots = self.read_slots()
        right = [slot for slot in slots if self.is_right(slot)]
        self.committed = 0
        if right:
            end = BLOCK_BYTES + right[0]["committedBytes"]
            self.search(BLOCK_BYTES, end, False)
            self.committed = end
            if self.last + 1 < durable_before:
                self.search(end, len(data), True)
        elif len(data) > BLOCK_BYTES:
            end = max((BLOCK_BYTES + slot["committedBytes"] for slot in slots), default=len(data))
            self.search(BLOCK_BYTES, min(end, len(data)), False)
            if end > len(data):
                report.bad(path, len(data), end, "the file ends before its committed length")
            if len(report.damage) == before:
                report.bad(path, 512, BLOCK_BYTES, "no commit slot is right")
        self.is_whole = bool(right) and right[0] is slots[0] and len(report.damage) == before and self.header is not None
        torn = len(data) - max(self.committed, BLOCK_BYTES)
        if right and torn > 0 and self.last + 1 >= durable_before and len(report.damage) == before:
            report.note(path, f"{torn} bytes of a torn commit at the end")

    def read_slots(self):
        slots, used = [], [(0, MANIFEST_HEADER.size)]
        for index, start in enumerate(SLOT_OFFSETS):
            slot = has_crc32(COMMIT_SLOT, self.data, start, None)
            used.append((start, COMMIT_SLOT.size))
            if slot is not None and slot["sequence"] % 2 == 1 - index:
                slots.append(slot)
            elif not is_zero(self.data[start : start + COMMIT_SLOT.size]):
                self.report.note(self.path, f"the commit slot at {start} does not check")
        if len(self.data) >= BLOCK_BYTES:
            check_gaps(self.report, self.path, self.data, used)
        return sorted(slots, key=lambda slot: -slot["sequence"])

    def is_right(self, slot):
        end = BLOCK_BYTES + slot["committedBytes"]
        return end % 8 == 0 and end <= len(self.data) and crc64(self.data[BLOCK_BYTES:end]) == slot["checksum64"]

    def search(self, at, end, is_behind):
        """Takes the records of a range; reports what does not check. Behind the slots, only what was durable."""
        bad = None
        while at < end and not (is_behind and self.last + 1 >= self.durable_before):
            record = read_record(self.data, at, end)
            if record is None or (is_behind and record["sequence"] >= self.durable_before):
                bad = at if bad is None else bad
                at += 8
                continue
            if bad is not None:
                self.report.bad(self.path, bad, at, "manifest records do not check")
                bad = None
            if record["sequence"] > self.last:
                self.records.append(record)
                self.last = record["sequence"]
            at += record["lengthBytes"]
        if bad is not None:
            self.report.bad(self.path, bad, at, "manifest records do not check")


class Stream:
    def __init__(self, stream_id):
        self.id, self.name, self.sealed, self.trim = stream_id, None, {}, None


class Manifest:
    def __init__(self, root, root_id, report):
        self.path, self.root_id, self.report = os.path.join(root, "manifest"), root_id, report
        self.streams, self.deleted, self.last, self.count = {}, set(), 0, 0
        files = {"chunk": {}, "snapshot": {}}
        for name in names_in(self.path):
            match = re.fullmatch(r"(\d{10})\.(chunk|snapshot)", name)
            if match:
                files[match[2]][int(match[1])] = os.path.join(self.path, name)
        covered = self.use_snapshot(files["snapshot"])
        self.use_chunks({number: path for number, path in files["chunk"].items() if number > covered})

    def is_ours(self, file, number, kind):
        header = file.header
        if header is None:
            return True
        if (header["rootId"], header["chunkSequence"], header["kind"]) == (self.root_id, number, kind):
            return True
        self.report.bad(file.path, 0, len(file.data), "the file belongs to another root or has another name")
        return False

    def use_snapshot(self, paths):
        for number in sorted(paths, reverse=True):
            file = ManifestFile(self.report, paths[number], read_file(paths[number]) or b"", 0, 0)
            if not self.is_ours(file, number, 1):
                continue
            last = file.records[-1] if file.records else None
            marker = MARKER.read(last["payload"], 0) if last and last["type"] == 14 else None
            if marker is None or marker["recordCount"] != len(file.records) - 1 or not file.is_whole:
                self.report.bad(file.path, 0, len(file.data), "the snapshot is not complete")
            self.apply_all(file.records)
            covers = file.header["firstRecordSequence"] - 1 if file.header else 0
            self.last = marker["coversSequence"] if marker else covers
            return number
        return 0

    def use_chunks(self, paths):
        data = {number: read_file(path) or b"" for number, path in paths.items()}
        order = sorted(paths)
        starts = {}
        for number in order:
            header = has_crc32(MANIFEST_HEADER, data[number], 0, b"AOFM")
            starts[number] = header["firstRecordSequence"] if header else None
        for place, number in enumerate(order):
            start = starts[number]
            if start is not None and start > self.last + 1:
                why = f"records {self.last + 1} to {start - 1} before this file are missing"
                self.report.bad(paths[number], 0, 0, why)
                self.last = start - 1
            later = [starts[other] for other in order[place + 1 :] if starts[other] is not None]
            file = ManifestFile(self.report, paths[number], data[number], self.last, later[0] if later else 0)
            if self.is_ours(file, number, 0):
                self.apply_all(file.records)
                self.last = max(self.last, file.last)

    def apply_all(self, records):
        self.count += len(records)
        for record in records:
            self.apply(record)

    def apply(self, record):
        stream_id, kind, payload = record["streamId"], record["type"], record["payload"]
        if kind == 19:
            self.deleted.add(stream_id)
            self.streams.pop(stream_id, None)
        if kind not in (0, 1, 16, 18) or stream_id in self.deleted:
            return
        stream = self.streams.setdefault(stream_id, Stream(stream_id))
        if kind == 18 and stream.name is None:
            size = CREATED.read(payload, 0)["nameBytes"]
            stream.name = payload[CREATED.size : CREATED.size + size].decode()
        elif kind == 1:
            seal = SEAL.read(payload, 0)
            known = stream.sealed.get(seal["segmentIndex"])
            if known is None or known["fileGeneration"] <= seal["fileGeneration"]:
                stream.sealed[seal["segmentIndex"]] = seal
        elif kind == 16:
            trim = TRIM.read(payload, 0)
            if stream.trim is None or trim["firstRecordId"] > stream.trim["firstRecordId"]:
                stream.trim = trim
