/**
 * Prints `README.md` of this folder: the byte tables come from the field tables, the rules around them are in `readme_rules.ts`.
 * A test compares the file with what is printed here; `scripts/format_readme.mjs` writes it.
 */
import type { Layout } from "./field_table.ts"
import { frameHeader, frameProducer } from "./frame.ts"
import { epochBase, headBytes, headFile } from "./head_object.ts"
import { journalEntry, journalGroup, journalHeader } from "./journal_block.ts"
import { commitSlot, manifestHeader } from "./manifest_chunk.ts"
import { manifestPayloads } from "./manifest_codec.ts"
import { manifestReasons, manifestReasonTexts } from "./manifest_reason.ts"
import { manifestRecordHeader, manifestTypes } from "./manifest_record.ts"
import { rules } from "./readme_rules.ts"
import { recordHeader } from "./record.ts"
import { replicaLeaseBytes } from "./replica_lease.ts"
import { rootFile } from "./root_file.ts"
import { sealedPointer } from "./sealed_pointer.ts"
import { seekTableEntry, seekTableFooter, seekTableHeader } from "./seekable_zstd.ts"
import { indexEntry, producerEntry, segmentFooter } from "./segment_footer.ts"
import { segmentHeader, watermarkSlot } from "./segment_header.ts"

/** The whole text of `README.md`. */
export const formatReadme = (): string => {
  const parts = [
    rules.introduction,
    rules.checksums,
    rules.root,
    table(rootFile),
    rules.segment,
    table(segmentHeader),
    table(watermarkSlot),
    rules.frame,
    table(frameHeader),
    table(frameProducer),
    rules.record,
    table(recordHeader),
    rules.seal,
    table(indexEntry),
    table(producerEntry),
    table(segmentFooter),
    rules.search,
    rules.unsealed,
    rules.pointer,
    table(sealedPointer),
    rules.journal,
    table(journalHeader),
    table(journalGroup),
    table(journalEntry),
    rules.warm,
    table(seekTableHeader),
    table(seekTableEntry),
    table(seekTableFooter),
    rules.manifest,
    table(manifestHeader),
    table(commitSlot),
    rules.manifestRecords,
    table(manifestRecordHeader),
    typesTable(),
    reasonsTable(),
    ...manifestPayloads.map((payload) => table(payload)),
    rules.replay,
    rules.store,
    rules.bucket,
    table(headBytes),
    table(headFile),
    table(epochBase),
    rules.replicas,
    table(replicaLeaseBytes),
  ]
  return `${parts.join("\n\n")}\n`
}

const table = (layout: Pick<Layout<unknown>, "name" | "about" | "sizeBytes" | "fields">): string => {
  const rows = layout.fields.map(
    ({ offset, sizeBytes, type, name, about }) =>
      `| ${offset} | ${sizeBytes} | ${typeNames[type]} | ${type === "reserved" ? "" : `\`${name}\``} | ${about} |`,
  )
  return [
    `### ${layout.name}: ${layout.sizeBytes} bytes`,
    `${capital(layout.about)}.`,
    ["| offset | bytes | type | field | |", "|---|---|---|---|---|", ...rows].join("\n"),
  ].join("\n\n")
}

const typesTable = (): string =>
  ["| type | name |", "|---|---|", ...manifestTypes.map((name, number) => `| ${number} | ${name} |`)].join("\n")

const reasonsTable = (): string =>
  [
    "| reason | name | |",
    "|---|---|---|",
    ...manifestReasons.map((name, number) => `| ${number} | ${name} | ${manifestReasonTexts[number]} |`),
  ].join("\n")

const typeNames = {
  u8: "u8",
  u16: "u16",
  u32: "u32",
  u64: "u64",
  safe: "safe",
  bytes: "bytes",
  reserved: "zero",
} as const

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
