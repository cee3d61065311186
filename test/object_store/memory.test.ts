// The object store in memory.

import { makeMemoryStore } from "../../src/object_store/memory.ts"
import { describeObjectStore } from "../support/object_store_conformance.ts"

describeObjectStore("the memory store", () => ({ store: makeMemoryStore() }))
