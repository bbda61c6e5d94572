/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A shard's log on a simulated disk, for the tests of lib/log: opened, written to, crashed and
 * looked into again.
 *
 * What an entry holds follows from its index and term (log_fixture_entry()), so that a test can
 * tell the right bytes from bytes that came back.
 */

#include "log/shard-log.h"
#include "tests/sim/disk.h"

#define LOG_FIXTURE_SHARD 1u
#define LOG_FIXTURE_DIR "shard-1"

struct log_fixture {
        struct sim_disk *disk;
        struct io *io;
        struct shard_log *log; /* NULL: closed */
        struct shard_log_config config;
        struct recovery_report report;
        uint64_t term;         /* of what log_fixture_append() appends */
        size_t entry_bytes;    /* about how large those are; 0: small, of all kinds */
        uint64_t synced_index; /* the last reported */
        uint64_t durable_index;
        uint64_t rolled_index;
        unsigned n_rolled;
        uint64_t n_synced; /* calls */
        unsigned n_saved;
        unsigned n_truncated;
        unsigned n_drained;
        int error; /* of on_failed() */
        struct tracer tracer;
        char said[256];   /* the last trace record since the start */
        char fields[512]; /* its MESSAGE_ID, if any, and its fields, a blank between two */
};

/* A disk with an empty shard on it, closed. The default configuration has the smallest segments. */
void log_fixture_init(struct log_fixture *f, uint64_t seed);
void log_fixture_done(struct log_fixture *f);

/* Recovers and opens. Return: as shard_log_open(). */
int log_fixture_open(struct log_fixture *f);
void log_fixture_close(struct log_fixture *f);
/* Crashes, closes, restarts the disk. */
void log_fixture_kill(struct log_fixture *f);
void log_fixture_power_cut(struct log_fixture *f);

/* The entry with this index: @e borrows static memory until the next call. @n_bytes: about; 0:
 * small, of all kinds. */
void log_fixture_entry(uint64_t index, uint64_t term, size_t n_bytes, struct entry *ret);
/* Appends @n entries and flushes; jobs do not run. Return: 0, or what the first that failed
 * gave. */
int log_fixture_append(struct log_fixture *f, uint64_t n);
/* Appends, flushes and runs jobs until all is synced. */
int log_fixture_write(struct log_fixture *f, uint64_t n);

/* Whether the log holds exactly entries @first..@last, dense, each with the bytes that belong to
 * the term @term_of(index) (NULL: 1); fails the test where not. */
void log_fixture_check(struct log_fixture *f,
                       uint64_t first,
                       uint64_t last,
                       uint64_t (*term_of)(uint64_t index));
