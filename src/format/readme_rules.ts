/** The prose of `README.md`: what a reader in another language has to know beside the byte tables. */

/** One text for each section, in Markdown. */
export const rules: { readonly [section: string]: string } = {
  introduction: `# The formats

Everything that a store writes, so that a reader can be written in any language without a look at the code. Printed from the field
tables of this folder; do not edit.

All numbers are little-endian and unsigned. \`safe\` is 8 bytes whose value is below 2^53; \`zero\` bytes are written as 0, and a
structure in which one is not 0 does not check. A magic is its four ASCII letters in the order of the file. A structure checks when its magic, its version and its checksum are right; nothing
in it counts before that, and each length is compared with the room there is before it is used. Times are Unix
milliseconds. A number on disk is never given another meaning; a format that changes gets another version.

\`\`\`
<root>/ROOT                                     root file
<root>/LOCK                                     who writes; no part of the data
<root>/manifest/0000000001.chunk                log of the manifest, ten digits
<root>/manifest/0000000001.snapshot             snapshot of the manifest
<root>/streams/<stream name>/segments/0000000001.seg
<root>/streams/<stream name>/segments/current.sealed   pointer to the last sealed segment
<root>/streams/<stream name>/segments/spare.seg        preallocated, no data
<root>/streams/<stream name>/warm/0000000001.seg.zst   the same segment, compressed
<root>/journal/0.jnl, 1.jnl                     commit journal, while it is needed
<root>/streams/.deleted-<stream id>/            a deleted stream on its way out
<root>/quarantine/                              what recovery could not use
\`\`\`

Names that end in \`.tmp\` are unfinished and hold no data. A stream name has 1 to 128 of \`A-Z a-z 0-9 . _ -\` and does not start with a dot.`,

  checksums: `## Checksums

**CRC-32**: the one of zlib, PNG and gzip (reflected polynomial edb88320). "with seed S" means that it goes on from S as if S were the
checksum of bytes before: \`zlib.crc32(bytes, S)\`. Check value of \`123456789\` with seed 0: \`cbf43926\`. Of the same text with
seed \`cbf43926\`: the checksum of \`123456789123456789\`.

**CRC-64/NVME**: reflected polynomial 9a6c9329ac4bc9b5, start and final xor ffffffffffffffff. Check value of \`123456789\`:
\`ae8b14860a799888\`; of no bytes: 0.

The seed of a segment is \`checksumSeed\` of its header. It starts every CRC-32 in that file but the header's own, so
that bytes of another segment, or of an earlier file of the same segment, never check.`,

  root: `## Root file

\`<root>/ROOT\`, exactly 64 bytes. A reader refuses a root whose \`version\` is above the one it knows, or with a bit in
\`featuresIncompatible\` that it does not know. Bit 0: there may be a commit journal (below), which holds durable bytes that no segment has.
Bits of \`featuresCompatible\` may be ignored. Bit 0: a commit journal is in use. It is set when both files of the journal have their names and before a group is
written, and cleared before the files go: where it is set and one is not there, that one is missing.`,

  segment: `## Segment

\`header block (1536 bytes) · frame · frame · … · index · producers · footer\`. At most 2^28 bytes. The header block is
the header at 0, a watermark slot at 512, another at 1024; the bytes between are zero. \`rootId\` and \`streamId\` must be those of
the root and of the stream, \`segmentIndex\` the number in the file name. A file with a higher \`fileGeneration\` has replaced
one of the same index with the same \`checksumSeed\` and the same record ids.

A **position** is \`segment index * 2^28 + offset in the segment\`; a **record id** is the position of a record's header.
Positions grow along the stream, over gaps: indexes may be left out. **Record numbers** are dense from 0 over the whole stream,
but for records lost to a cut at its end, which were never durable.

A slot tells how far the stream was durable when it was written. The valid one with the higher \`sequence\` counts. It is written after
the sync that makes it true, so it never promises too much. Its \`watermark\` may lie in an earlier segment, be that of the slot before or 0: then it is
there for its \`coordinatorWatermark\`, which is newer. Two valid slots with the same \`watermark\` say that the
file was closed in order; a writer that goes on in it destroys the older one first.`,

  frame: `## Frame

The unit of checksum. The first is at offset 1536; the next starts where the one before ends, rounded up to a multiple of 8; the bytes
between are zero. A frame checks when

- \`offset\` is the offset at which it was found,
- \`headerBytes\` is 56 without and 88 with flag 2, \`lengthBytes\` is larger, and the frame ends within the file (in a sealed segment, at \`durableBytes\` or before),
- \`checksum\` is the CRC-32, with the seed of the segment, of its bytes from 4 to \`lengthBytes\`,
- its records, \`recordCount\` of them, fill it exactly.

A **batch** is the frames from the one whose \`batchOffset\` is its own offset to the first without flag 1. All its frames name the
same \`batchOffset\` and lie in one segment. It is there whole or not at all: when one of its frames does not check, none
of its records count. Small records close a frame at 64 KiB; a larger record has a frame of its own.

\`firstRecordNumber\` of a frame is that of the frame before plus its \`recordCount\`; of the first frame that of the segment header.
\`watermark\` is a position as in the slots: everything below it was durable when the frame was closed.`,

  record: `## Record

Behind the frame's header (and producer block), back to back, at any offset:
\`header (8) · extId (8, with flag 1) · timestamp (8, with flag 2) · payload\`.

\`lengthAndFlags\` has the payload's bytes in its low 28 bits. Bit 28 (flag 1): a u64 \`extId\` follows, otherwise it is 0. Bit 29 (flag 2):
a u64 timestamp follows, otherwise it is \`timestampMs\` of the frame plus \`timestampDelta\`. Bit 30 (flag 4): a control record, which has a
number but is not shown to readers of payloads. Bit 31 (flag 8): a snapshot of the application starts here.

\`frameDistance\` is the distance from the frame's header to this record's header, so that a record can be read by its id: go
back by \`frameDistance\`, check the frame (and its batch), walk its records, and believe the id only when one starts there.
An \`extId\` other than 0 is never below the last one of the stream. Timestamps may go back.`,

  seal: `## Sealed segment

A segment is sealed when the last bytes of its file are a footer that checks and that has the stream id, segment index and
file generation of its header. Frames end at \`durableBytes\`. From \`indexOffset\` follow \`indexCount\` index entries, then \`producerCount\`
producer entries, then the footer, which ends the file. \`tailChecksum\` covers the entries, \`checksum\` the footer, and \`checksum64\` the whole
file but itself, slots and padding included: a sealed file never changes. A footer with \`recordCount\` 0 has \`lastRecordId\` 0.`,

  search: `## Finding a record

The index has one entry for each stretch of 64 KiB (offsets \`n * 65536\` to \`n * 65536 + 65535\`) in which a frame starts: the first
that does. Its \`timestampMsMax\` and \`extIdMax\` are the largest over all records of the stream before that frame, so they never go down.

- By id: the segment is \`id / 2^28\`; see Record.
- By number: the last entry with \`firstRecordNumber\` at most the number; walk frames from there.
- By time or extId, which mean the first record at or above the value: the last entry whose maximum is below the value; walk from
  there to the first record at or above it. Among segments: the first sealed one whose footer has a maximum at or above the value, or the
  unsealed one.

When no entry qualifies, the walk starts at the first frame.`,

  unsealed: `## Unsealed segment

A file without a footer is being written, or was when its writer died. It may be longer than its frames: the rest is zeros, or
remains of writes that never became durable. There may be up to three: two being sealed, one being written.

The **durable watermark** of the stream is the largest one in any slot or checked frame of its unsealed segments, or the end
of the last sealed segment (\`segmentIndex * 2^28 + durableBytes\`), whichever is larger.

- Walk frames from 1536. A frame or batch that does not check **at or above** the watermark is the end of the log: it and everything behind
  it, later segments too, was never durable. That is no damage.
- **Below** the watermark it is damage. What follows it is still good: look at each multiple of 8 for the next frame that checks and begins
  a batch, and report the range between.
- Frames above the watermark that check, without a bad one before them, count as written: a process that was only killed lost nothing.

After such an end a writer seals what is left and goes on in a segment with an index above every one ever used, so that the id of a
lost record never comes back. Record numbers go on from the cut.`,

  pointer: `## Sealed pointer

\`current.sealed\`, exactly 64 bytes, is replaced by rename after each seal. It is a hint that saves a look at other files, and the
newest \`coordinatorWatermark\`. It counts only when the segment that it names is sealed and agrees.`,

  journal: `## Commit journal

When several streams of a root want durability at once, their bytes go into one group of a journal file, and one sync makes all of them
durable; the segments are written later. \`header · group · group · …\`, each at a multiple of 512, zeros between. A group is its start and
then entries one directly behind the other: the entry's start, then \`lengthBytes\` bytes that belong at \`offset\` of that segment. An entry at
offset 0 holds the segment's header, without slots.

A group counts when its \`offset\` is where it lies and its checksum is right; so nothing of an earlier use of the file counts, as each use has
a seed of its own. It is written after the one before is durable: what does not check is the end, unless a group that counts follows. The
entries of both files, by \`sequence\` of the file and then by offset of the group, are written into the segments of the streams that still
exist before anything else is read; those of sealed and of trimmed segments are left out. A file of a segment that is missing is made when an
entry at offset 0 is there, or else, with a header that is computed back from the first frame, when what lies before it is lost. When the manifest is damaged, a segment below all
that have a file is made only where its frames end at the \`baseOffset\` of what follows: it may have been trimmed. Doing this again changes nothing. A root that was closed in order has no journal files.
One that holds nothing may be a header alone; any other has at least 32 KiB, and below 4 MiB a multiple of 512 and the length of the other one. A group never runs past the end of its file.

A file gets its name when its header and zeros behind it are durable, so a header that does not check, or is missing, is damage. One changed byte of it
is put right from its checksum. Without a header the seed is computed back from the groups, as the checksum of given bytes is a one-to-one function of
it: it counts when two of them agree, or one agrees with the header's field. Groups of the last use lie before those of earlier ones.`,

  warm: `## Warm file

A sealed segment, compressed: \`zstd frame · zstd frame · … · seek table\`. The frames are those of RFC 8878, one after the other, each with its content
size, a content checksum and no dictionary, and together they hold the segment file byte for byte. The seek table is that of the
"zstd seekable format", without checksums, in a skippable frame; so \`zstd -d\` gives the segment back. The warm file of
\`0000000001.seg\` is \`warm/0000000001.seg.zst\` beside \`segments\`.

The table is \`header · entry · entry · … · footer\`, read from the end of the file: \`frameCount\` gives its length, \`8 + 8 * frameCount + 9\`
bytes. It counts only when \`compressedBytes\` of all entries add up to the bytes before the table and \`contentBytes\` of all to the
length of the segment, which is at most 2^28. No frame is longer than its content and a 64th of it and 512 bytes.

To read a byte of the segment, find the entry that holds it, decode that one frame, and compare the length. Frames end where frames of the log
end, about every 64 KiB; a longer frame of the log may be cut into several. One ends at \`durableBytes\` of the segment, so that index and
footer can be decoded alone. Which frames a compressor makes is its own affair: a reader goes by the table.`,

  manifest: `## Manifest

A log of what happened to streams and segments, in chunks, and at most a few snapshots of what it adds up to. Both kinds of file have
one layout: \`header block (1536 bytes) · record · record · …\`. The header block is the header at 0, a commit slot at 512,
another at 1024; the bytes between are zero. \`rootId\` must be that of the root and \`chunkSequence\` the number in the file name.

A commit writes records, then the older of the two slots, then syncs once. So the newest slot may be there without its records: it
counts only when the CRC-64 of the bytes that it commits is right; else the other slot counts, whose commit was durable before.

Two slots that commit the same bytes say that the file was closed in order. When their sequences follow each other a writer may go on in it;
when there is a gap between them the file is sealed, and never changes again. A writer seals a chunk that is full, or old, or that
a snapshot covers, and what is left of one whose writer died.`,

  manifestRecords: `## Manifest records

Each starts at a multiple of 8 behind the one before, and is padded with zeros to a multiple of 8. Offsets
in the payload tables count from the end of the record's header. A payload may be longer than its table here: what follows is for later versions. Type 19 carries nothing. A reader passes over types that it does
not know.

Texts and bytes follow their table in the order of their lengths in it, each padded with zeros to a multiple of 8. Texts are UTF-8
without a mark at the start. A record checks, but its payload counts as unknown, when it is shorter than its table and texts, a \`zero\` or padding byte
is not 0, a length is out of its bounds (a key has 1 to 1024 bytes, an etag at most 256, the bytes of a CustomEvent at most 4096), or a text is no UTF-8.`,

  replay: `## Replay of the manifest

1. Take the complete snapshot with the highest number: its header checks, its newest slot is right, every record checks, and the last one
   is a SnapshotMarker whose \`recordCount\` is the number of records before it. Apply its records. Log records up to \`coversSequence\`, and
   chunks up to the snapshot's number, are contained in it.
2. Go through the chunks with higher numbers, in order. In each, records count up to \`committedBytes\` of the newest slot that is right. Bytes
   behind are a commit that was torn, and no damage.
3. All records before \`firstRecordSequence\` of the next chunk were durable when that was made. When the slots of a chunk give
   fewer, look behind them, at each multiple of 8, for records that check and have a higher sequence than the last and a lower one than
   that. What is still missing is damage.
4. When no slot of a chunk is right, a durable commit was spoiled: that is damage. Look for records in the same way, up to the larger
   \`committedBytes\` of the valid slots, or to the end of the file when no slot is valid. A file of at most 1536 bytes whose header block does not
   check was never finished, and nothing is lost with it.
5. Pass over a record whose sequence is not above the last one applied: a commit that had failed is written again into the next chunk. A gap
   between the last sequence and \`firstRecordSequence\` of a chunk is damage.

Streams: StreamCreated makes one, its \`timestampMs\` is the time of creation; StreamDeleted ends it, and records for it that come
later count for nothing. SealSegment adds a sealed segment, or replaces the one of the same index with a lower \`fileGeneration\`; SegmentOpened
says that a file exists which is not sealed. Trim drops every sealed segment all of whose records are before \`firstRecordId\`; it never goes back.
The last SealSegment of a stream is kept in snapshots even when it was trimmed: numbers, maxima and the coordinator watermark go on from it.

Copies of a sealed segment that no trim has dropped: CompressionDone names its warm file, UploadDone its object, UploadStarted an object that
may be there. They count for nothing when their \`fileGeneration\` is below that of the SealSegment, and a SealSegment with a higher one ends them. LocalEvicted
says that the local file of a tier was removed, HydrationDone that it is there again, CompressionDone that the warm file is: hints, which may be missing.
Tier2DeleteQueued ends an object as a copy for good, even when an UploadDone for its key follows; the key stays queued, over trims and the
deletion of its stream, until Tier2Deleted. Of Epoch records the one with the highest \`epoch\` holds, of several the last. The other types leave nothing behind:
they are not in snapshots.`,

  store: `## Reading a store

Replay the manifest. For each stream: its sealed segments in order of index are its history, those with an index below that of \`firstRecordId\` of its
trim being gone or about to be. Then come the segment files that the manifest does not call sealed, in order of index, above the last sealed
one: they may have a footer (the writer died before the manifest knew) or be unsealed. Records before the trim's
\`firstRecordId\` are not shown. A file of a segment below the trim, a directory of a stream that the manifest does not name, and
\`spare.seg\` are leftovers. To verify a store, check in addition that each sealed file has the length, \`checksum64\` and numbers of
its SealSegment record, and that record numbers are dense within each segment.`,

  bucket: `## A bucket

Where a root has an object store of its own, the store holds all that is needed to read and to go on. Keys, behind the prefix of the store:

\`\`\`
HEAD
<root id in hex>/manifest/<ten digits>-e<epoch>-<CRC-64/NVME in hex>.chunk          a chunk of the manifest
<root id in hex>/manifest/<ten digits>-e<epoch>-<CRC-64/NVME in hex>.snapshot       a snapshot
<root id in hex>/segments/<stream id>/<ten digits>-e<epoch>-<CRC-64/NVME in hex>.zst   a segment in its warm form
<root id in hex>/replicas/<16 hex digits>                                           a replica that reads here
\`\`\`

A segment, or a file of the manifest, that is put anew by the same writer after an object of it was given up has \`-r<number>\` behind the checksum, from 1 on: a
key for which a removal was asked for is not used again.

HEAD changes, and what replicas put; nothing else does. HEAD is put with the etag of the one before as a condition, or on the condition that there is
none. It names a snapshot, where there is one, and the chunks behind it: their bytes under the names \`<ten digits>.snapshot\` and
\`<ten digits>.chunk\` are a manifest, to be replayed like one on a disk. A segment is in the bucket when that manifest has an UploadDone for it and
no Tier2DeleteQueued for its key; what is only sealed there was on the writer's disk. An object that no HEAD names, and no manifest of one, counts for nothing.

A writer takes a root by a HEAD with an epoch above that of the one before. It goes on for as long as the HEAD that it finds is its own: same epoch,
same first 12 bytes of the nonce. Before each HEAD the writer makes an Epoch record with that epoch and nonce durable on its disk, so
that it knows its own HEADs after a crash; the record with which it takes over carries the HEAD that it found, too. Objects whose keys have an older epoch stay valid.

A root that moves to another bucket leaves a last HEAD with bit 31 of \`featuresIncompatible\`, which names the same files as the one before; the metadata \`moved-to\` of
the object says where it went. Its HEAD in the other bucket has the same epoch, and objects keep their keys.`,

  replicas: `A replica may register, so that the writer keeps what it may still read: an object given up by a record of the manifest above \`lastSequence\` of any
registration is not removed. A registration holds for \`leaseMs\` from when the writer last saw it change, by the writer's clock; then the writer removes it. A replica that
has been away for longer goes on from HEAD.`,
}
