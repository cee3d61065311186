// What `test/imports.test.ts` loads to show that it would notice.

import { createCRC64 } from "hash-wasm"

await createCRC64()
