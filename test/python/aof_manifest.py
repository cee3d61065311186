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
    PARTS,
    PAYLOADS,
    REASONS,
    SEAL,
    SLOT_OFFSETS,
    SPAN,
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


def decode_payload(number, payload):
    """The fields of a payload and the bytes behind it; None when the type is not known or the payload does not fit."""
    _, table = PAYLOADS.get(number, (None, None))
    if number == 19:
        return {}, payload
    value = table.read(payload, 0) if table else None
    if value is None:
        return None
    at = table.size
    for length_name in [name for name, _, _, _ in table.fields if name in PARTS]:
        name, least, most = PARTS[length_name]
        length = value.pop(length_name)
        end = at + (length + 7 & ~7)
        if not least <= length <= most or end > len(payload):
            return None
        part = payload[at : at + length]
        if name == "name":
            value[name] = part.decode("utf-8", "replace")
        elif not is_zero(payload[at + length : end]):
            return None
        elif name == "payload":
            value[name] = part
        else:
            try:
                value[name] = part.decode("utf-8")
            except UnicodeDecodeError:
                return None
        at = end
    return value, payload[at:]


def to_json(name, value, is_big):
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if is_big(name) else value


def describe_record(record, offset, committed_end):
    """A record as the inspector of the library prints it."""
    number, payload = record["type"], record["payload"]
    known, table = PAYLOADS.get(number, ("Unknown", None))
    decoded = decode_payload(number, payload)
    value, rest = ({"payload": payload}, b"") if decoded is None else decoded
    big = {name for name, kind, _, _ in table.fields if kind == "u64"} if table else set()
    reason = record["reasonCode"]
    return {
        "offset": offset,
        "lengthBytes": record["lengthBytes"],
        "type": known,
        "typeNumber": number,
        "isDecoded": decoded is not None,
        "reasonCode": reason,
        "reason": REASONS[reason] if reason < len(REASONS) else str(reason),
        "sequence": record["sequence"],
        "timestampMs": record["timestampMs"],
        "streamId": record["streamId"],
        "checksum64": str(record["checksum64"]),
        "isCommitted": offset + record["lengthBytes"] <= committed_end,
        "value": {name: to_json(name, one, big.__contains__) for name, one in value.items()},
        "rest": rest.hex() if rest else None,
    }


def describe_file(data, committed_end):
    """Every record that checks, at each multiple of 8."""
    at, rows = BLOCK_BYTES, []
    while at < len(data):
        record = read_record(data, at, len(data))
        if record is not None:
            rows.append(describe_record(record, at, committed_end))
        at += record["lengthBytes"] if record else 8
    return rows


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
        # Those sealed segments that no trim has dropped, and what is known of their copies.
        self.last, self.live, self.copies = None, {}, {}

    def apply(self, kind, value):
        if kind == 18 and self.name is None:
            self.name = value["name"]
        elif kind == 1:
            self.apply_seal(value)
        elif kind == 16 and (self.trim is None or value["firstRecordId"] > self.trim["firstRecordId"]):
            self.trim = value
        for index in [index for index, seal in self.live.items() if self.is_trimmed(seal)]:
            del self.live[index]
            self.copies.pop(index, None)

    def apply_seal(self, seal):
        index, generation = seal["segmentIndex"], seal["fileGeneration"]
        is_last = self.last is not None and self.last["segmentIndex"] == index
        known = self.last if is_last else self.live.get(index)
        if known is not None and known["fileGeneration"] > generation:
            return
        if known is not None and known["fileGeneration"] < generation and index in self.copies:
            copy = self.copies[index]
            names = ("compressed", "uploading", "uploaded")
            self.copies[index] = {name: copy[name] for name in names if copy.get(name, (0, -1))[1] >= generation}
        self.sealed[index] = self.live[index] = seal
        if self.last is None or self.last["segmentIndex"] <= index:
            self.last = seal

    def is_trimmed(self, seal):
        if self.trim is None:
            return False
        first = self.trim["firstRecordId"]
        return seal["segmentIndex"] < first // SPAN or (seal["recordCount"] > 0 and seal["lastRecordId"] < first)

    def apply_copy(self, kind, value, deletes):
        """Each copy is its key or level, and the file generation from which it was made."""
        index = value["segmentIndex"]
        if index not in self.live:
            return
        copy = self.copies.setdefault(index, {})
        if kind in (11, 13):
            tier = value["toTier"] if kind == 11 else value["tier"]
            if tier in (0, 1):
                copy[("hotEvicted", "warmEvicted")[tier]] = kind == 13
            return
        name = {3: "compressed", 5: "uploading", 6: "uploaded"}[kind]
        generation = value["fileGeneration"]
        if generation < self.live[index]["fileGeneration"] or (copy.get(name) or (0, -1))[1] > generation:
            return
        if kind == 3:
            copy["warmEvicted"] = False
        elif value["key"] in deletes:
            return
        elif kind == 6 and (copy.get("uploading") or (None,))[0] == value["key"]:
            del copy["uploading"]
        copy[name] = (value["level"] if kind == 3 else value["key"], generation)

    def drop_object(self, index, key):
        copy = self.copies.get(index, {})
        for name in ("uploading", "uploaded"):
            if name in copy and copy[name][0] == key:
                del copy[name]


class Manifest:
    def __init__(self, root, root_id, report):
        self.path, self.root_id, self.report = os.path.join(root, "manifest"), root_id, report
        self.streams, self.deleted, self.last, self.count = {}, set(), 0, 0
        self.deletes, self.epoch = {}, None
        files = {"chunk": {}, "snapshot": {}}
        self.files = {}
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
            self.files[os.path.basename(paths[number])] = file
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
            self.files[os.path.basename(paths[number])] = file
            if self.is_ours(file, number, 0):
                self.apply_all(file.records)
                self.last = max(self.last, file.last)

    def apply_all(self, records):
        self.count += len(records)
        for record in records:
            self.apply(record)

    def apply(self, record):
        stream_id, kind = record["streamId"], record["type"]
        decoded = decode_payload(kind, record["payload"])
        if decoded is None:
            return
        value = decoded[0]
        if kind == 19:
            self.deleted.add(stream_id)
            self.streams.pop(stream_id, None)
        elif kind == 17 and value["epoch"] >= (self.epoch or value)["epoch"]:
            self.epoch = value
        elif kind in (8, 9):
            self.apply_delete(stream_id, kind, value)
        elif kind in (3, 5, 6, 11, 13) and stream_id in self.streams:
            self.streams[stream_id].apply_copy(kind, value, self.deletes)
        if kind in (0, 1, 16, 18) and stream_id not in self.deleted:
            self.streams.setdefault(stream_id, Stream(stream_id)).apply(kind, value)

    def apply_delete(self, stream_id, kind, value):
        if kind == 8:
            self.deletes[value["key"]] = stream_id
        else:
            self.deletes.pop(value["key"], None)
        if stream_id in self.streams:
            self.streams[stream_id].drop_object(value["segmentIndex"], value["key"])

    def describe(self):
        """Files with their records, and the copies of segments."""
        streams = {}
        for stream in self.streams.values():
            copies = {str(index): copy for index, copy in sorted(stream.copies.items()) if any(copy.values())}
            streams[str(stream.id)] = {"name": stream.name or "", "segments": sorted(stream.live), "copies": copies}
        epoch = self.epoch["epoch"] if self.epoch else None
        return {"files": {name: describe_file(file.data, file.committed) for name, file in self.files.items()}, "streams": streams, "deletes": sorted(self.deletes), "epoch": epoch}
