/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How fast a shard's log is read back from the page cache: one topic in large batches, one of ten
 * thousand topics, by offset without a hint, everything by a scan; and what reading and verifying
 * cost at the least. Writes two logs of some 256 MiB below a folder first. For people; nothing
 * asserts a time.
 *
 *     build/bench/bench-reader [FOLDER [MIB]]
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/parse.h"
#include "base/random.h"
#include "base/time.h"
#include "batch/batch-format.h"
#include "io/io-posix.h"
#include "log/reader.h"
#include "log/shard-log.h"

#define ROUNDS 5u
#define FETCH_BYTES ((size_t) 1 << 20)
#define LARGE_BATCH_BYTES 100000u
#define SMALL_BATCH_BYTES 1000u
#define N_TOPICS UINT64_C(10000)
#define N_LOOKUPS 2000u

struct log {
        struct shard_log *log;
        char *dir;
        uint64_t n_topics;
        uint64_t n_batches; /* of each topic; one message each */
        uint32_t batch_bytes;
        uint64_t synced_index;
};

static void check(int r, const char *what) {
        if (r >= 0)
                return;
        fprintf(stderr, "bench-reader: %s: %s\n", what, strerror(-r));
        exit(EXIT_FAILURE);
}

static void on_synced(void *userdata, uint64_t durable_index) {
        ((struct log *) userdata)->synced_index = durable_index;
}

static void on_nothing(_unused_ void *userdata) {}

static void on_truncated(_unused_ void *userdata, _unused_ uint64_t last_index) {}

static void on_failed(_unused_ void *userdata, int error, const char *what) {
        check(error, what);
}

static const struct shard_log_events events = {
        .on_synced = on_synced,
        .on_hardstate_saved = on_nothing,
        .on_truncated = on_truncated,
        .on_drained = on_nothing,
        .on_failed = on_failed,
};

static void make_batch(uint8_t *p, uint32_t size) {
        struct batch_header *h = (struct batch_header *) p;
        struct random random;

        random_init(&random, size);
        random_bytes(&random, p, size);
        *h = (struct batch_header){
                .length = be32_of(size - BATCH_LENGTH_FROM),
                .magic = BATCH_MAGIC,
                .producer_id = be64_of(UINT64_MAX),
                .n_records = be32_of(1),
        };
        h->crc = be32_of(crc32c(0, p + BATCH_CHECKED_FROM, size - BATCH_CHECKED_FROM));
}

static void wait_synced(struct io *io, struct log *l) {
        shard_log_flush(l->log);
        while (l->synced_index < shard_log_last_index(l->log))
                check(io_posix_dispatch(io, USEC_PER_SEC), "dispatch");
}

static void make_log(struct io *io,
                     const char *dir,
                     uint64_t n_topics,
                     uint32_t batch_bytes,
                     uint64_t n_bytes,
                     struct log *l) {
        const struct shard_log_config config = {
                .dir = dir,
                .shard = 1,
                .segment_bytes = SEGMENT_BYTES_DEFAULT,
                .group_bytes = GROUP_BYTES_DEFAULT,
                .append_budget_bytes = APPEND_BUDGET_BYTES_DEFAULT,
        };
        struct recovery_report report;
        uint8_t *batch = mem_alloc(batch_bytes);

        if (!batch)
                check(-ENOMEM, "memory");
        *l = (struct log){
                .n_topics = n_topics,
                .batch_bytes = batch_bytes,
                .n_batches = MAX(n_bytes / batch_bytes / n_topics, UINT64_C(1)),
        };
        check(io_mkdir(io, dir), dir);
        check(shard_log_create(io, dir, 1), dir);
        check(shard_log_open(io, &config, &events, l, &l->log, &report), dir);
        make_batch(batch, batch_bytes);

        for (uint64_t i = 0; i < l->n_batches * n_topics;) {
                struct entry_slice slice = {
                        .partition_id = 1 + i % n_topics,
                        .base_offset = i / n_topics,
                        .batch = batch,
                        .batch_bytes = batch_bytes,
                };
                const struct entry e = {
                        .index = i + 1,
                        .term = 1,
                        .append_time_ms = (int64_t) i,
                        .kind = ENTRY_PRODUCE,
                        .n_slices = 1,
                        .slices = &slice,
                };
                int r = shard_log_append(l->log, &e);

                if (r == -EAGAIN || r == -ENOSPC) {
                        wait_synced(io, l);
                        continue;
                }
                check(r, "append");
                i++;
        }
        wait_synced(io, l);
        while (io_posix_dispatch(io, 0) > 0)
                ; /* index files */
        mem_free(batch);
}

struct figures {
        uint64_t n_fetches;
        uint64_t n_batches;
        uint64_t n_bytes;
        uint64_t n_bytes_read;
        uint64_t n_on_loop; /* fetches that did not have to block */
};

/* Reads a topic from start to end, each fetch going on where the one before ended. */
static void consume(struct log *l, uint64_t topic, struct figures *f) {
        struct log_position position = {};
        uint64_t offset = 0;

        while (offset < l->n_batches) {
                struct log_read *read = NULL;
                const struct log_read_slice *slices;
                size_t n;
                int r;

                check(shard_log_read(
                              l->log, topic, offset, l->n_batches, FETCH_BYTES, &position, &read),
                      "read");
                r = log_read_run(read, /* may_block= */ false);
                f->n_on_loop += r != -EAGAIN;
                if (r == -EAGAIN)
                        r = log_read_run(read, /* may_block= */ true);
                check(r, "run");

                slices = log_read_slices(read, &n);
                for (size_t i = 0; i < n; i++)
                        f->n_bytes += slices[i].batch.size;
                f->n_bytes_read += log_read_bytes_read(read);
                f->n_batches += n;
                f->n_fetches++;
                offset = slices[n - 1].base_offset + 1;
                log_read_position(read, &position);
                log_read_free(read);
        }
}

static void report(const char *what, const struct figures *f, usec_t usec) {
        double seconds = (double) MAX(usec, UINT64_C(1)) / USEC_PER_SEC;

        printf("%-34s %7.2f GB/s %9.0f fetches/s %9.0f batches/s, %4.0f%% on the loop, read %6.2f times\n",
               what,
               (double) f->n_bytes / 1e9 / seconds,
               (double) f->n_fetches / seconds,
               (double) f->n_batches / seconds,
               100.0 * (double) f->n_on_loop / (double) f->n_fetches,
               (double) f->n_bytes_read / (double) f->n_bytes);
}

static void bench_consume(struct log *l, const char *what, uint64_t n_topics) {
        struct figures best = {};
        usec_t best_usec = USEC_INFINITY;

        for (unsigned i = 0; i < ROUNDS; i++) {
                struct figures f = {};
                usec_t begin = now_monotonic_usec(), took;

                for (uint64_t t = 0; t < n_topics; t++)
                        consume(l, 1 + t * (l->n_topics / n_topics), &f);
                took = now_monotonic_usec() - begin;
                if (took < best_usec) {
                        best_usec = took;
                        best = f;
                }
        }
        report(what, &best, best_usec);
}

/* Single fetches at random offsets, without a hint. */
static void bench_lookups(struct log *l, const char *what) {
        struct figures f = {};
        struct random random;
        usec_t begin = now_monotonic_usec();

        random_init(&random, 1);
        for (unsigned i = 0; i < N_LOOKUPS; i++) {
                struct log_read *read = NULL;
                const struct log_read_slice *slices;
                size_t n;

                check(shard_log_read(l->log,
                                     1 + random_below(&random, l->n_topics),
                                     random_below(&random, l->n_batches),
                                     l->n_batches,
                                     /* max_bytes= */ 1,
                                     NULL,
                                     &read),
                      "read");
                check(log_read_run(read, /* may_block= */ true), "run");
                slices = log_read_slices(read, &n);
                f.n_bytes += slices[0].batch.size;
                f.n_bytes_read += log_read_bytes_read(read);
                f.n_batches++;
                f.n_fetches++;
                log_read_free(read);
        }
        report(what, &f, now_monotonic_usec() - begin);
}

static void bench_scan(struct log *l, const char *what, enum entry_verify verify) {
        usec_t best = USEC_INFINITY;
        uint64_t n = 0, n_bytes = 0;

        for (unsigned i = 0; i < ROUNDS; i++) {
                usec_t begin = now_monotonic_usec();
                struct log_scan *scan = NULL;
                struct entry e;
                int r;

                n = 0;
                check(shard_log_scan(l->log, 1, shard_log_durable_index(l->log), verify, &scan),
                      "scan");
                while ((r = log_scan_next(scan, &e)) > 0)
                        n++;
                check(r, "scan");
                n_bytes = log_scan_bytes_read(scan);
                log_scan_free(scan);
                best = MIN(best, now_monotonic_usec() - begin);
        }
        printf("%-34s %7.2f GB/s %9.0f entries/s\n",
               what,
               (double) n_bytes / 1e3 / (double) best,
               (double) n * 1e6 / (double) best);
}

/* What nobody can do without: reading the file, and the checksum of all of it. */
static void bench_raw(struct io *io, const char *dir) {
        char *path = mem_asprintf("%s/00000000000000000001.log", dir);
        uint8_t *p = mem_alloc(FETCH_BYTES);
        struct io_file *file = NULL;
        usec_t best = USEC_INFINITY;
        uint64_t n_bytes = 0;

        if (!path || !p)
                check(-ENOMEM, "memory");
        check(io_open(io, path, IO_OPEN_READ, &file), path);
        for (unsigned i = 0; i < ROUNDS; i++) {
                usec_t begin = now_monotonic_usec();
                uint32_t crc = 0;
                ssize_t n;

                n_bytes = 0;
                while ((n = io_pread(file, p, FETCH_BYTES, n_bytes, 0)) > 0) {
                        crc = crc32c(crc, p, (size_t) n);
                        n_bytes += (uint64_t) n;
                }
                check((int) n, "pread");
                best = MIN(best, now_monotonic_usec() - begin + (crc == 0));
        }
        printf("%-34s %7.2f GB/s\n",
               "pread and crc32c alone",
               (double) n_bytes / 1e3 / (double) best);
        io_file_unref(file);
        mem_free(p);
        mem_free(path);
}

static void remove_dir(struct io *io, const char *dir) {
        size_t n;
        char **names;

        check(io_list(io, dir, &names, &n), dir);
        for (size_t i = 0; i < n; i++) {
                char *path = mem_asprintf("%s/%s", dir, names[i]);

                check(path ? io_unlink(io, path) : -ENOMEM, names[i]);
                mem_free(path);
        }
        io_names_free(names, n);
        check(io_rmdir(io, dir), dir);
}

int main(int argc, char **argv) {
        const char *folder = argc > 1 ? argv[1] : "/tmp";
        struct log one = {}, many = {};
        struct io *io = NULL;
        uint64_t n_mib = 256;
        char *dirs[2];

        if (argc > 2)
                check(parse_uint64_range(argv[2], 16, 16384, &n_mib), argv[2]);
        check(io_posix_new(NULL, &io), "io");
        for (unsigned i = 0; i < ELEMENTSOF(dirs); i++)
                dirs[i] = mem_asprintf("%s/bench-reader.%d.%u", folder, (int) getpid(), i);
        make_log(io, dirs[0], 1, LARGE_BATCH_BYTES, n_mib << 20, &one);
        make_log(io, dirs[1], N_TOPICS, SMALL_BATCH_BYTES, n_mib << 20, &many);

        printf("%" PRIu64
               " MiB in batches of %u bytes, fetches of %zu; the same in batches of %u, of %" PRIu64
               " topics in turn\n\n",
               n_mib,
               LARGE_BATCH_BYTES,
               FETCH_BYTES,
               SMALL_BATCH_BYTES,
               N_TOPICS);
        bench_raw(io, dirs[0]);
        bench_consume(&one, "one topic from start to end", 1);
        bench_lookups(&one, "single batches at random");
        bench_scan(&one, "all entries, batches verified", ENTRY_VERIFY_BATCHES);
        bench_consume(&many, "100 of 10,000 topics, each", 100);
        bench_lookups(&many, "single batches of 10,000 topics");
        bench_scan(&many, "all entries of 10,000 topics", ENTRY_VERIFY_BATCHES);

        shard_log_free(one.log);
        shard_log_free(many.log);
        for (unsigned i = 0; i < ELEMENTSOF(dirs); i++) {
                remove_dir(io, dirs[i]);
                mem_free(dirs[i]);
        }
        io_posix_free(io);
        return EXIT_SUCCESS;
}
