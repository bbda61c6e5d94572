/* SPDX-License-Identifier: Apache-2.0 */
/* A log on a simulated disk: log-fixture.h. */
#include "tests/lib/log-fixture.h"

#include "base/crc32c.h"
#include "base/logging.h"
#include "batch/batch-format.h"
#include "log/reader.h"
#include "tests/lib/test.h"

#define ENTRY_MAX (ENTRY_BYTES_MAX + 4096u)
#define N_SLICES 2u

static void on_synced(void *userdata, uint64_t durable_index) {
        struct log_fixture *f = userdata;

        ASSERT_GE(durable_index, f->synced_index);
        f->synced_index = durable_index;
        f->n_synced++;
}

static void on_durable(void *userdata, uint64_t durable_index) {
        struct log_fixture *f = userdata;

        ASSERT_GT(durable_index, f->durable_index);
        ASSERT_LE(durable_index, shard_log_written_index(f->log));
        f->durable_index = durable_index;
}

static void on_rolled(void *userdata, uint64_t last_index) {
        struct log_fixture *f = userdata;

        ASSERT_GT(last_index, f->rolled_index);
        ASSERT_GE(shard_log_durable_index(f->log), last_index);
        f->rolled_index = last_index;
        f->n_rolled++;
}

static void on_saved(void *userdata) {
        struct log_fixture *f = userdata;

        f->n_saved++;
}

static void on_truncated(void *userdata, uint64_t last_index) {
        struct log_fixture *f = userdata;

        f->synced_index = f->durable_index = last_index;
        f->rolled_index = 0;
        f->n_truncated++;
}

static void on_drained(void *userdata) {
        struct log_fixture *f = userdata;

        f->n_drained++;
}

static void on_failed(void *userdata, int error, const char *what) {
        struct log_fixture *f = userdata;

        (void) what;
        ASSERT_EQ(f->error, 0); /* once */
        f->error = error;
}

static void on_trace(void *userdata, const struct log_record *record) {
        struct log_fixture *f = userdata;

        size_t n;

        (void) snprintf(f->said, sizeof(f->said), "%s", record->text);
        n = (size_t) snprintf(f->fields, sizeof(f->fields), "%s", record->message_id ?: "");
        for (const char *const *i = record->fields; i && *i && n < sizeof(f->fields); i++)
                n += (size_t) snprintf(f->fields + n, sizeof(f->fields) - n, " %s", *i);
}

static const struct shard_log_events events = {
        .on_synced = on_synced,
        .on_durable = on_durable,
        .on_rolled = on_rolled,
        .on_hardstate_saved = on_saved,
        .on_truncated = on_truncated,
        .on_drained = on_drained,
        .on_failed = on_failed,
};

void log_fixture_init(struct log_fixture *f, uint64_t seed) {
        *f = (struct log_fixture) {
                .config = {
                        .dir = LOG_FIXTURE_DIR,
                        .shard = LOG_FIXTURE_SHARD,
                        .segment_bytes = SEGMENT_BYTES_MIN,
                        .group_bytes = GROUP_BYTES_DEFAULT,
                        .append_budget_bytes = APPEND_BUDGET_BYTES_DEFAULT,
                },
                .term = 1,
        };
        ASSERT_OK(sim_disk_new(seed, &f->disk));
        f->io = sim_disk_io(f->disk);
        ASSERT_OK(io_mkdir(f->io, LOG_FIXTURE_DIR));
        ASSERT_OK(shard_log_create(f->io, LOG_FIXTURE_DIR, LOG_FIXTURE_SHARD));
        ASSERT_OK(io_sync_dir(f->io, "."));
}

void log_fixture_done(struct log_fixture *f) {
        log_fixture_close(f);
        f->disk = sim_disk_free(f->disk);
}

int log_fixture_open(struct log_fixture *f) {
        int r;

        ASSERT_NULL(f->log);
        f->error = 0;
        f->said[0] = '\0';
        f->tracer = (struct tracer){ .emit = on_trace, .userdata = f };
        f->config.tracer = &f->tracer;
        r = shard_log_open(f->io, &f->config, &events, f, &f->log, &f->report);
        f->rolled_index = 0;
        if (r >= 0)
                f->synced_index = f->durable_index = shard_log_durable_index(f->log);
        return r;
}

void log_fixture_close(struct log_fixture *f) {
        f->log = shard_log_free(f->log);
}

void log_fixture_kill(struct log_fixture *f) {
        sim_disk_kill(f->disk);
        log_fixture_close(f);
        sim_disk_restart(f->disk);
}

void log_fixture_power_cut(struct log_fixture *f) {
        sim_disk_power_cut(f->disk);
        log_fixture_close(f);
        sim_disk_restart(f->disk);
}

/* A batch that passes batch_verify() and whose records nobody reads. */
static size_t put_batch(uint8_t *p, size_t n_payload, uint64_t seed) {
        const size_t n = BATCH_HEADER_BYTES + MAX(n_payload, (size_t) RECORD_BYTES_MIN);

        memset(p, 0, BATCH_HEADER_BYTES);
        be32_store(p + 8, (uint32_t) (n - BATCH_LENGTH_FROM));
        p[16] = BATCH_MAGIC;
        memset(p + 43, 0xff, 8 + 2 + 4); /* no producer */
        be32_store(p + 57, 1);
        for (size_t i = BATCH_HEADER_BYTES; i < n; i++)
                p[i] = (uint8_t) (seed + i * 7);
        be32_store(p + 17, crc32c(0, p + BATCH_CHECKED_FROM, n - BATCH_CHECKED_FROM));
        return n;
}

void log_fixture_entry(uint64_t index, uint64_t term, size_t n_bytes, struct entry *ret) {
        static uint8_t memory[ENTRY_MAX];
        static struct entry_slice slices[N_SLICES];
        const uint64_t seed = index * 31 + term * 7;
        size_t n = 0;

        *ret = (struct entry){
                .index = index,
                .term = term,
                .append_time_ms = (int64_t) (1000 + index),
        };

        if (index % 3 ==
            0) { /* one with a body, often of zeroes, which must not pass for unwritten sectors */
                ret->kind = ENTRY_ADMIN;
                ret->body_bytes = (uint32_t) (n_bytes > 0 ? n_bytes : 20 + seed % 3000);
                memset(memory, index % 2 == 0 ? 0 : (int) (seed & 0xff), ret->body_bytes);
                ret->body = memory;
                return;
        }

        ret->kind = ENTRY_PRODUCE;
        ret->n_slices = 1 + (unsigned) (index % N_SLICES);
        ret->slices = slices;
        for (unsigned i = 0; i < ret->n_slices; i++) {
                slices[i] = (struct entry_slice){
                        .partition_id = 1 + i,
                        .base_offset = index * 10,
                        .priority = (uint8_t) i,
                        .batch = memory + n,
                        .batch_bytes = (uint32_t) put_batch(memory + n,
                                                            n_bytes > 0 ? n_bytes / ret->n_slices
                                                                        : 10 + seed % 700,
                                                            seed + i),
                };
                n += slices[i].batch_bytes;
        }
}

int log_fixture_append(struct log_fixture *f, uint64_t n) {
        for (uint64_t i = 0; i < n; i++) {
                struct entry e;
                int r;

                log_fixture_entry(shard_log_last_index(f->log) + 1, f->term, f->entry_bytes, &e);
                r = shard_log_append(f->log, &e);
                if (r < 0)
                        return r;
        }

        shard_log_flush(f->log);
        return 0;
}

int log_fixture_write(struct log_fixture *f, uint64_t n) {
        int r;

        r = log_fixture_append(f, n);
        sim_disk_run_jobs(f->disk);
        return r;
}

static void assert_entry(const struct entry *e, uint64_t index, uint64_t term, size_t n_bytes) {
        struct entry want;

        log_fixture_entry(index, term, n_bytes, &want);
        ASSERT_EQ(e->index, index);
        ASSERT_EQ(e->term, term);
        ASSERT_EQ(e->append_time_ms, want.append_time_ms);
        ASSERT_EQ(e->kind, want.kind);
        ASSERT_EQ(e->n_slices, want.n_slices);
        ASSERT_EQ(e->body_bytes, want.body_bytes);
        if (e->body_bytes > 0)
                ASSERT_MEM(e->body, want.body, e->body_bytes);
        for (unsigned i = 0; i < e->n_slices; i++) {
                const struct entry_slice *s = e->slices + i;

                ASSERT_EQ(s->partition_id, want.slices[i].partition_id);
                ASSERT_EQ(s->base_offset, want.slices[i].base_offset);
                ASSERT_EQ(s->batch_bytes, want.slices[i].batch_bytes);
                ASSERT_EQ(be64_load(s->batch), s->base_offset);
                ASSERT_MEM(s->batch + BATCH_CHECKED_FROM - 4,
                           want.slices[i].batch + BATCH_CHECKED_FROM - 4,
                           s->batch_bytes - BATCH_CHECKED_FROM + 4);
        }
}

void log_fixture_check(struct log_fixture *f,
                       uint64_t first,
                       uint64_t last,
                       uint64_t (*term_of)(uint64_t index)) {
        _cleanup_(log_scan_freep) struct log_scan *scan = NULL;
        struct entry e;

        ASSERT_EQ(shard_log_durable_index(f->log), last);
        ASSERT_EQ(shard_log_last_index(f->log), last);
        if (last < first)
                return;

        ASSERT_OK(shard_log_scan(f->log, first, last, ENTRY_VERIFY_BATCHES, &scan));
        for (uint64_t i = first; i <= last; i++) {
                ASSERT_EQ(log_scan_next(scan, &e), 1);
                assert_entry(&e, i, term_of ? term_of(i) : 1, f->entry_bytes);
        }
        ASSERT_EQ(log_scan_next(scan, &e), 0);
        ASSERT_EQ(shard_log_last_term(f->log), term_of ? term_of(last) : 1);
}
