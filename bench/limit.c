/*
 * What the machine can do without a store and without a JavaScript runtime: CRC-32C by instruction, write() and mmap(), fdatasync.
 * One workload a call; the last line of output is its result as JSON.
 *
 *   limit append FILE PAYLOAD RECORDS     W1: frames of 64 KiB, written 256 KiB at a time, one fdatasync, counted
 *   limit ack FILE PAYLOAD ACKS GROUP     W2, W3: GROUP records in one frame, written and synced, into a file filled with zeros before
 *   limit ackgrow FILE PAYLOAD ACKS GROUP the same into a file that grows
 *   limit scan FILE                       W4: all records by offsets, each frame checked; through mmap() and through read(), the faster one
 *   limit point FILE READS                W5: records at random, a CRC-32C over each; through mmap() and through pread(), the faster one
 *   limit reopen FILE                     W6: open, check the last 4 MiB, read the first record
 *
 * A frame is { u32 crc; u32 length; } and records { u32 length; u32 number; payload }.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#define CRC8(crc, value) ((uint32_t)_mm_crc32_u64((crc), (value)))
#define CRC1(crc, value) _mm_crc32_u8((crc), (value))
#elif defined(__aarch64__)
#include <arm_acle.h>
#define CRC8(crc, value) __crc32cd((crc), (value))
#define CRC1(crc, value) __crc32cb((crc), (value))
#else
#error "no CRC-32C instruction is known for this processor"
#endif

#define FRAME 65536
#define WRITE (256 * 1024)
#define HEADER 8
#define POOL (256 * 1024)
#define ZEROS (8 * 1024 * 1024)
#define TAIL (4 * 1024 * 1024)

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static double cpu_now(void) {
  struct timespec at;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
  return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static uint32_t crc32c(const uint8_t *bytes, size_t length) {
  uint32_t crc = 0xffffffff;
  while (length >= 8) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    crc = CRC8(crc, word);
    bytes += 8;
    length -= 8;
  }
  while (length-- > 0) crc = CRC1(crc, *bytes++);
  return ~crc;
}

static uint32_t state = 1;
static uint32_t random32(void) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

static uint32_t get32(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, 4);
  return value;
}

static void put32(uint8_t *at, uint32_t value) { memcpy(at, &value, 4); }

static void write_all(int file, const uint8_t *bytes, size_t length, off_t at) {
  while (length > 0) {
    ssize_t count = pwrite(file, bytes, length, at);
    if (count <= 0) fail("pwrite");
    bytes += count;
    length -= (size_t)count;
    at += count;
  }
}

static uint8_t *make_pool(uint32_t payload, uint32_t *count) {
  *count = 4;
  while (*count * 2 * payload <= POOL) *count *= 2;
  uint8_t *pool = malloc((size_t)*count * payload);
  for (size_t i = 0; i < (size_t)*count * payload; i++) pool[i] = (uint8_t)random32();
  return pool;
}

static void close_frame(uint8_t *frame, size_t length) {
  put32(frame + 4, (uint32_t)length);
  put32(frame, crc32c(frame + 4, length - 4));
}

static size_t put_record(uint8_t *at, const uint8_t *payload, uint32_t length, uint32_t number) {
  put32(at, length);
  put32(at + 4, number);
  memcpy(at + HEADER, payload, length);
  return HEADER + length;
}

static void append(const char *path, uint32_t payload, uint64_t records) {
  uint32_t pool_count;
  uint8_t *pool = make_pool(payload, &pool_count);
  uint8_t *buffer = malloc(WRITE + FRAME + HEADER * 2 + payload);
  memset(buffer, 0, WRITE + FRAME + HEADER * 2 + payload);
  int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (file < 0) fail(path);
  double started = now(), cpu = cpu_now();
  size_t frame = 0, position = HEADER;
  off_t written = 0;
  for (uint64_t i = 0; i < records; i++) {
    if (position - frame + HEADER + payload > FRAME && position > frame + HEADER) {
      close_frame(buffer + frame, position - frame);
      frame = position;
      position += HEADER;
      if (frame >= WRITE) {
        write_all(file, buffer, frame, written);
        written += (off_t)frame;
        frame = 0;
        position = HEADER;
      }
    }
    position += put_record(buffer + position, pool + (size_t)(i & (pool_count - 1)) * payload, payload, (uint32_t)i);
  }
  close_frame(buffer + frame, position - frame);
  write_all(file, buffer, position, written);
  if (fdatasync(file) != 0) fail("fdatasync");
  double seconds = now() - started;
  cpu = cpu_now() - cpu;
  struct stat about;
  fstat(file, &about);
  printf("{\"rate\":%.1f,\"cpuNs\":%.2f,\"diskBytes\":%" PRIu64 "}\n", (double)records / seconds,
         cpu / (double)records * 1e9, (uint64_t)about.st_blocks * 512);
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void ack(const char *path, uint32_t payload, uint64_t acks, uint32_t group, int is_growing) {
  uint32_t pool_count;
  uint8_t *pool = make_pool(payload, &pool_count);
  size_t frame_max = HEADER + (size_t)group * (HEADER + payload);
  uint8_t *buffer = malloc(frame_max);
  int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (file < 0) fail(path);
  if (!is_growing) {
    uint8_t *zeros = calloc(1, ZEROS);
    write_all(file, zeros, ZEROS, 0);
    if (fsync(file) != 0) fail("fsync");
    free(zeros);
  }
  uint64_t groups = (acks + group - 1) / group;
  double *latencies = malloc(groups * sizeof(double));
  off_t at = 0;
  double started = now(), cpu = cpu_now();
  for (uint64_t i = 0; i < groups; i++) {
    double asked = now();
    size_t position = HEADER;
    for (uint32_t one = 0; one < group; one++)
      position += put_record(buffer + position, pool + (size_t)(one & (pool_count - 1)) * payload, payload, one);
    close_frame(buffer, position);
    if (!is_growing && at + (off_t)position > ZEROS) at = 0;
    write_all(file, buffer, position, at);
    at += (off_t)position;
    if (fdatasync(file) != 0) fail("fdatasync");
    latencies[i] = now() - asked;
  }
  double seconds = now() - started;
  cpu = cpu_now() - cpu;
  qsort(latencies, groups, sizeof(double), by_value);
  printf("{\"rate\":%.1f,\"cpuNs\":%.2f,\"p50Us\":%.1f,\"p99Us\":%.1f}\n", (double)(groups * group) / seconds,
         cpu / (double)(groups * group) * 1e9, latencies[groups / 2] * 1e6, latencies[groups * 99 / 100] * 1e6);
}

static uint64_t walk(const uint8_t *bytes, size_t length, uint32_t *hash, size_t *used) {
  uint64_t records = 0;
  size_t at = 0;
  while (at + HEADER < length) {
    size_t end = at + get32(bytes + at + 4);
    if (end > length) break;
    if (crc32c(bytes + at + 4, end - at - 4) != get32(bytes + at)) {
      fprintf(stderr, "a frame does not check\n");
      exit(1);
    }
    for (size_t position = at + HEADER; position < end;) {
      uint32_t size = get32(bytes + position);
      *hash = *hash * 31 + size + bytes[position + HEADER];
      position += HEADER + size;
      records++;
    }
    at = end;
  }
  *used = at;
  return records;
}

static uint8_t *map(int file, size_t *length) {
  struct stat about;
  fstat(file, &about);
  *length = (size_t)about.st_size;
  uint8_t *bytes = mmap(NULL, *length, PROT_READ, MAP_SHARED, file, 0);
  if (bytes == MAP_FAILED) fail("mmap");
  return bytes;
}

static int open_to_read(const char *path) {
  int file = open(path, O_RDONLY);
  if (file < 0) fail(path);
  return file;
}

static void print_read(double count, double mapped, double mapped_cpu, double read, double read_cpu, uint32_t hash) {
  double cpu = mapped_cpu < read_cpu ? mapped_cpu : read_cpu;
  printf("{\"rate\":%.1f,\"cpuNs\":%.2f,\"mapped\":%.1f,\"read\":%.1f,\"hash\":%u}\n", mapped > read ? mapped : read,
         cpu / count * 1e9, mapped, read, hash);
}

static void scan(const char *path) {
  size_t length, used;
  uint32_t hash = 0;
  double started = now(), cpu = cpu_now();
  int file = open_to_read(path);
  uint8_t *bytes = map(file, &length);
  uint64_t records = walk(bytes, length, &hash, &used);
  double mapped = (double)records / (now() - started), mapped_cpu = cpu_now() - cpu;
  size_t size = 1024 * 1024;
  uint8_t *buffer = malloc(size);
  records = 0;
  started = now();
  cpu = cpu_now();
  for (size_t offset = 0; offset < length; offset += used) {
    ssize_t count = pread(file, buffer, size, (off_t)offset);
    if (count <= 0) fail("pread");
    records += walk(buffer, (size_t)count, &hash, &used);
    if (used == 0) break;
  }
  double read_rate = (double)records / (now() - started), read_cpu = cpu_now() - cpu;
  print_read((double)records, mapped, mapped_cpu, read_rate, read_cpu, hash);
}

static void point(const char *path, uint64_t reads) {
  size_t length;
  int file = open_to_read(path);
  uint8_t *bytes = map(file, &length);
  size_t count = 0, room = 1024;
  uint64_t *offsets = malloc(room * sizeof(uint64_t));
  for (size_t at = 0; at + HEADER < length;) {
    size_t end = at + get32(bytes + at + 4);
    for (size_t position = at + HEADER; position < end; position += HEADER + get32(bytes + position)) {
      if (count == room) offsets = realloc(offsets, (room *= 2) * sizeof(uint64_t));
      offsets[count++] = position;
    }
    at = end;
  }
  uint32_t size = get32(bytes + offsets[0]), mix = 0;
  uint8_t *buffer = malloc(HEADER + size);
  double started = now(), cpu = cpu_now();
  for (uint64_t i = 0; i < reads; i++) mix ^= crc32c(bytes + offsets[random32() % count] + HEADER, size);
  double mapped = (double)reads / (now() - started), mapped_cpu = cpu_now() - cpu;
  started = now();
  cpu = cpu_now();
  for (uint64_t i = 0; i < reads; i++) {
    if (pread(file, buffer, HEADER + size, (off_t)offsets[random32() % count]) != (ssize_t)(HEADER + size)) fail("pread");
    mix ^= crc32c(buffer + HEADER, size);
  }
  double read_rate = (double)reads / (now() - started), read_cpu = cpu_now() - cpu;
  print_read((double)reads, mapped, mapped_cpu, read_rate, read_cpu, mix);
}

static void reopen(const char *path) {
  double started = now();
  int file = open_to_read(path);
  struct stat about;
  fstat(file, &about);
  size_t size = about.st_size < TAIL ? (size_t)about.st_size : TAIL;
  uint8_t *buffer = malloc(TAIL), first[HEADER * 2 + 1];
  if (pread(file, buffer, size, about.st_size - (off_t)size) != (ssize_t)size) fail("pread");
  uint32_t mix = crc32c(buffer, size);
  if (pread(file, first, sizeof(first), 0) != (ssize_t)sizeof(first)) fail("pread");
  printf("{\"seconds\":%.6f,\"hash\":%u}\n", now() - started, mix ^ first[HEADER * 2]);
}

int main(int count, char **args) {
  const char *name = count > 2 ? args[1] : "";
  uint32_t payload = count > 3 ? (uint32_t)atol(args[3]) : 0;
  uint64_t amount = count > 4 ? (uint64_t)atoll(args[4]) : 0;
  if (strcmp(name, "append") == 0 && count == 5) append(args[2], payload, amount);
  else if (strcmp(name, "ack") == 0 && count == 6) ack(args[2], payload, amount, (uint32_t)atol(args[5]), 0);
  else if (strcmp(name, "ackgrow") == 0 && count == 6) ack(args[2], payload, amount, (uint32_t)atol(args[5]), 1);
  else if (strcmp(name, "scan") == 0 && count == 3) scan(args[2]);
  else if (strcmp(name, "point") == 0 && count == 4) point(args[2], payload);
  else if (strcmp(name, "reopen") == 0 && count == 3) reopen(args[2]);
  else {
    fprintf(stderr, "limit append|ack|ackgrow|scan|point|reopen FILE ...\n");
    return 2;
  }
  return 0;
}
