/* SPDX-License-Identifier: Apache-2.0 */

/* Tests drmqd/core/snapshot.h through frames: what is made is whole, whatever happens meanwhile;
 * nothing but what belongs to a snapshot is read. */

#include <stdio.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "drmqd/core/core.h"
#include "log/datadir.h"
#include "log/hardstate.h"
#include "proto/message.h"
#include "snapshot/manifest.h"
#include "tests/lib/broker-fixture.h"
#include "tests/lib/test.h"

/* Return: the error; @ret may be NULL. */
static enum drmq_error snapshot_create(struct broker_client *c,
                                       const char *name,
                                       uint64_t token,
                                       bool is_temporary,
                                       uint64_t *ret_bytes) {
        Drmq__Proto__SnapshotCreateRequest q = DRMQ__PROTO__SNAPSHOT_CREATE_REQUEST__INIT;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;
        Drmq__Proto__SnapshotCreateResponse *m;

        q.name = (char *) name;
        q.token = token;
        q.is_temporary = is_temporary;
        r = broker_client_wait(c,
                               broker_client_send(c, FRAME_SNAPSHOT_CREATE, &q, NULL, 0, NULL, 0));
        if (broker_reply_error(r) != DRMQ_ERROR_NONE)
                return broker_reply_error(r);
        m = broker_reply_message(
                r, FRAME_SNAPSHOT_CREATE, &drmq__proto__snapshot_create_response__descriptor);
        ASSERT_NOT_NULL(m->snapshot);
        ASSERT_STREQ(m->snapshot->name, name);
        if (ret_bytes)
                *ret_bytes = m->snapshot->n_bytes;
        message_free(m);
        return DRMQ_ERROR_NONE;
}

static enum drmq_error snapshot_delete(struct broker_client *c, const char *name) {
        Drmq__Proto__SnapshotDeleteRequest q = DRMQ__PROTO__SNAPSHOT_DELETE_REQUEST__INIT;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;

        q.name = (char *) name;
        r = broker_client_wait(c,
                               broker_client_send(c, FRAME_SNAPSHOT_DELETE, &q, NULL, 0, NULL, 0));
        return broker_reply_error(r);
}

/* How many are held. */
static size_t snapshot_count(struct broker_client *c, uint64_t *ret_pinned) {
        Drmq__Proto__SnapshotListRequest q = DRMQ__PROTO__SNAPSHOT_LIST_REQUEST__INIT;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;
        Drmq__Proto__SnapshotListResponse *m;
        size_t n;

        r = broker_client_wait(c, broker_client_send(c, FRAME_SNAPSHOT_LIST, &q, NULL, 0, NULL, 0));
        m = broker_reply_message(
                r, FRAME_SNAPSHOT_LIST, &drmq__proto__snapshot_list_response__descriptor);
        n = m->n_snapshot;
        if (ret_pinned)
                *ret_pinned = m->pinned_bytes;
        message_free(m);
        return n;
}

static uint64_t
send_read(struct broker_client *c, const char *name, uint32_t file, uint64_t pos, uint32_t n) {
        Drmq__Proto__SnapshotReadRequest q = DRMQ__PROTO__SNAPSHOT_READ_REQUEST__INIT;

        q.name = (char *) name;
        q.file = file;
        q.position = pos;
        q.max_bytes = n;
        return broker_client_send(c, FRAME_SNAPSHOT_READ, &q, NULL, 0, NULL, 0);
}

static enum drmq_error
try_read(struct broker_client *c, const char *name, uint32_t file, uint64_t pos) {
        _cleanup_(broker_reply_freep) struct broker_reply *r =
                broker_client_wait(c, send_read(c, name, file, pos, 100));

        return broker_reply_error(r);
}

/* A whole file, in pieces. */
static void read_file(struct broker_client *c,
                      const char *name,
                      uint32_t file,
                      uint32_t piece,
                      struct byte_writer *w) {
        byte_writer_init(w, 0);
        for (;;) {
                _cleanup_(broker_reply_freep) struct broker_reply *r =
                        broker_client_wait(c, send_read(c, name, file, w->size, piece));
                Drmq__Proto__SnapshotReadResponse *m = broker_reply_message(
                        r, FRAME_SNAPSHOT_READ, &drmq__proto__snapshot_read_response__descriptor);

                ASSERT_LE(r->frame.body.size, piece);
                ASSERT_EQ(m->crc32c, crc32c(0, r->frame.body.data, r->frame.body.size));
                message_free(m);
                byte_writer_bytes(w, r->frame.body.data, r->frame.body.size);
                ASSERT_OK(byte_writer_result(w));
                if (r->frame.body.size < piece)
                        return;
        }
}

static struct manifest *read_contents(struct broker_client *c, const char *name) {
        struct manifest *m = NULL;
        struct byte_writer w;

        read_file(c, name, 0, 100, &w);
        ASSERT_OK(manifest_parse(w.data, w.size, &m, NULL));
        byte_writer_done(&w);
        ASSERT_STREQ(m->name, name);
        return m;
}

static void begin(struct broker_fixture *f, struct broker_client *c, uint64_t seed) {
        broker_fixture_init(f, seed);
        broker_fixture_start(f);
        broker_client_connect(c, f);
}

static void put_file(struct io *io, const char *path, const void *p, size_t n) {
        _cleanup_(io_file_unrefp) struct io_file *file = NULL;

        ASSERT_OK(io_open(io, path, IO_OPEN_WRITE | IO_OPEN_CREATE, &file));
        ASSERT_OK(io_pwrite(file, p, n, 0));
        ASSERT_OK(io_fdatasync(file));
}

/* Reads all of a snapshot and makes a directory of it on another disk, as drmq-snapshot does; a
 * broker starts there. */
static void
restore(struct broker_client *c, const char *name, struct broker_fixture *f, uint64_t seed) {
        struct manifest *m = read_contents(c, name);
        uint64_t shards[16];
        struct io *io;
        char path[256];

        broker_fixture_init(f, seed);
        io = sim_disk_io(f->disk);
        ASSERT_OK(io_mkdir(io, BROKER_FIXTURE_DIR));
        ASSERT_OK(io_mkdir(io, BROKER_FIXTURE_DIR "/incoming"));
        for (size_t i = 0; i < m->n_shards; i++) {
                (void) snprintf(path, sizeof(path), BROKER_FIXTURE_DIR "/shard-%zu", i);
                ASSERT_OK(io_mkdir(io, path));
                (void) snprintf(path, sizeof(path), BROKER_FIXTURE_DIR "/shard-%zu/hardstate", i);
                ASSERT_OK(hardstate_create(
                        io, path, &(struct hardstate){ .sequence = 1, .term = m->shards[i].term }));
                shards[i] = m->shards[i].shard;
        }
        for (size_t i = 0; i < m->n_files; i++) {
                struct byte_writer w;

                read_file(c, name, (uint32_t) i + 1, 1 << 20, &w);
                ASSERT_EQ(w.size, m->files[i].n_bytes);
                (void) snprintf(path, sizeof(path), BROKER_FIXTURE_DIR "/%s", m->files[i].path);
                put_file(io, path, w.data, w.size);
                byte_writer_done(&w);
        }
        ASSERT_OK(datadir_make_node(
                io, BROKER_FIXTURE_DIR, m->node_id, shards, m->n_shards, /* ret= */ NULL));
        manifest_free(m);
        broker_fixture_start(f);
        ASSERT_EQ(f->n_damaged, 0);
}

TEST(what_was_acknowledged_is_in_it_and_what_came_later_is_not) {
        struct broker_fixture f, g;
        struct broker_client c, d;
        uint64_t id, later;

        begin(&f, &c, 1);
        id = broker_client_topic(&c, "a", 1);
        for (unsigned i = 0; i < 40; i++)
                (void) broker_client_produce(&c, id, 2, 50000);
        ASSERT_EQ(broker_client_commit(&c, "g", id, 7), DRMQ_ERROR_NONE);
        ASSERT_EQ(snapshot_create(&c, "s", 1, false, NULL), DRMQ_ERROR_NONE);
        later = broker_client_topic(&c, "b", 1);
        (void) broker_client_produce(&c, id, 1, 100);
        (void) broker_client_produce(&c, later, 1, 100);

        restore(&c, "s", &g, 2);
        broker_client_connect(&d, &g);
        ASSERT_EQ(broker_client_read(&d, id, 0), 80);
        {
                uint64_t position;

                ASSERT_TRUE(broker_client_position(&d, "g", id, &position));
                ASSERT_EQ(position, 7);
        }
        ASSERT_EQ(broker_client_produce(&d, id, 1, 100), 80);
        ASSERT_EQ(broker_client_topic(&d, "c", 1), later); /* it knows of no "b" */
        broker_client_end(&d);
        broker_fixture_stop(&g);
        broker_fixture_done(&g);

        ASSERT_EQ(broker_client_read(&c, id, 0), 81);
        broker_client_end(&c);
        broker_fixture_stop(&f);
        broker_fixture_done(&f);
}

TEST(only_names_and_numbers_of_what_is_there_are_read) {
        static const char *const names[] = {
                "", ".", "..", "../snapshots/s", "s/", "/s", "s\n", "s/../../node", "t",
        };
        struct broker_fixture f;
        struct broker_client c;
        struct manifest *m;
        uint64_t id;

        begin(&f, &c, 3);
        id = broker_client_topic(&c, "a", 1);
        (void) broker_client_produce(&c, id, 1, 100);
        for (size_t i = 0; i + 1 < ELEMENTSOF(names); i++)
                ASSERT_EQ(snapshot_create(&c, names[i], 0, false, NULL), DRMQ_ERROR_INVALID_NAME);
        ASSERT_EQ(snapshot_create(&c, "s", 0, false, NULL), DRMQ_ERROR_NONE);
        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                ASSERT_EQ(try_read(&c, names[i], 0, 0), DRMQ_ERROR_UNKNOWN_SNAPSHOT);
                ASSERT_EQ(snapshot_delete(&c, names[i]), DRMQ_ERROR_UNKNOWN_SNAPSHOT);
        }
        m = read_contents(&c, "s");
        ASSERT_EQ(try_read(&c, "s", (uint32_t) m->n_files, 0), DRMQ_ERROR_NONE);
        ASSERT_EQ(try_read(&c, "s", (uint32_t) m->n_files + 1, 0), DRMQ_ERROR_INVALID_ARGUMENT);
        ASSERT_EQ(try_read(&c, "s", UINT32_MAX, 0), DRMQ_ERROR_INVALID_ARGUMENT);
        ASSERT_EQ(try_read(&c, "s", 1, UINT64_MAX), DRMQ_ERROR_MALFORMED);
        ASSERT_EQ(try_read(&c, "s", 1, INT64_MAX), DRMQ_ERROR_NONE); /* behind the end: nothing */
        manifest_free(m);
        ASSERT_EQ(snapshot_delete(&c, "s"), DRMQ_ERROR_NONE);
        ASSERT_EQ(try_read(&c, "s", 0, 0), DRMQ_ERROR_UNKNOWN_SNAPSHOT);
        broker_client_end(&c);
        broker_fixture_stop(&f);
        broker_fixture_done(&f);
}

TEST(who_asks_again_is_told_of_the_one_that_was_made) {
        struct broker_fixture f;
        struct broker_client c;
        uint64_t first, again;

        begin(&f, &c, 4);
        ASSERT_EQ(snapshot_create(&c, "s", 77, false, &first), DRMQ_ERROR_NONE);
        (void) broker_client_produce(&c, broker_client_topic(&c, "a", 1), 1, 50000);
        ASSERT_EQ(snapshot_create(&c, "s", 77, false, &again), DRMQ_ERROR_NONE);
        ASSERT_EQ(first, again);
        ASSERT_EQ(snapshot_create(&c, "s", 78, false, NULL), DRMQ_ERROR_SNAPSHOT_EXISTS);
        ASSERT_EQ(snapshot_create(&c, "s", 0, false, NULL), DRMQ_ERROR_SNAPSHOT_EXISTS);
        broker_client_end(&c);

        broker_fixture_end(&f, /* power_cut= */ true);
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        ASSERT_EQ(snapshot_create(&c, "s", 77, false, &again), DRMQ_ERROR_NONE);
        ASSERT_EQ(first, again);
        ASSERT_EQ(snapshot_count(&c, NULL), 1);
        broker_client_end(&c);
        broker_fixture_stop(&f);
        broker_fixture_done(&f);
}

TEST(no_more_are_held_than_may_be) {
        struct broker_fixture f;
        struct broker_client c;

        broker_fixture_init(&f, 5);
        f.config.snapshots_max = 2;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        ASSERT_EQ(snapshot_create(&c, "a", 0, false, NULL), DRMQ_ERROR_NONE);
        ASSERT_EQ(snapshot_create(&c, "b", 0, false, NULL), DRMQ_ERROR_NONE);
        ASSERT_EQ(snapshot_create(&c, "c", 0, false, NULL), DRMQ_ERROR_TOO_MANY_SNAPSHOTS);
        ASSERT_EQ(snapshot_delete(&c, "a"), DRMQ_ERROR_NONE);
        ASSERT_EQ(snapshot_create(&c, "c", 0, false, NULL), DRMQ_ERROR_NONE);
        broker_client_end(&c);
        broker_fixture_stop(&f);
        broker_fixture_done(&f);
}

TEST(a_temporary_one_goes_when_nobody_reads_it) {
        struct broker_fixture f;
        struct broker_client c;

        begin(&f, &c, 6);
        ASSERT_EQ(snapshot_create(&c, "stays", 0, false, NULL), DRMQ_ERROR_NONE);
        ASSERT_EQ(snapshot_create(&c, "goes", 0, true, NULL), DRMQ_ERROR_NONE);
        for (unsigned i = 0; i < 4; i++) {
                broker_fixture_run(&f, 10 * USEC_PER_MINUTE);
                ASSERT_EQ(try_read(&c, "goes", 0, 0), DRMQ_ERROR_NONE);
        }
        broker_fixture_run(&f, 14 * USEC_PER_MINUTE);
        ASSERT_EQ(snapshot_count(&c, NULL), 2);
        broker_fixture_run(&f, 2 * USEC_PER_MINUTE);
        ASSERT_EQ(snapshot_count(&c, NULL), 1);
        ASSERT_EQ(try_read(&c, "goes", 0, 0), DRMQ_ERROR_UNKNOWN_SNAPSHOT);
        ASSERT_EQ(try_read(&c, "stays", 0, 0), DRMQ_ERROR_NONE);

        /* A restart does not make it last for ever. */
        ASSERT_EQ(snapshot_create(&c, "goes", 0, true, NULL), DRMQ_ERROR_NONE);
        broker_client_end(&c);
        broker_fixture_stop(&f);
        broker_fixture_start(&f);
        broker_fixture_run(&f, 16 * USEC_PER_MINUTE);
        broker_client_connect(&c, &f);
        ASSERT_EQ(snapshot_count(&c, NULL), 1);
        broker_client_end(&c);
        broker_fixture_stop(&f);
        broker_fixture_done(&f);
}

/* Retention, as far as the log is concerned. */
TEST(what_the_log_drops_the_snapshot_keeps_and_says_so) {
        struct broker_fixture f, g;
        struct broker_client c, d;
        struct shard *s;
        uint64_t id, pinned, bytes;

        begin(&f, &c, 7);
        id = broker_client_topic(&c, "a", 1);
        for (unsigned i = 0; i < 60; i++)
                (void) broker_client_produce(&c, id, 1, 100000);
        ASSERT_EQ(snapshot_create(&c, "s", 0, false, &bytes), DRMQ_ERROR_NONE);
        ASSERT_EQ(snapshot_create(&c, "t", 0, false, NULL), DRMQ_ERROR_NONE);
        ASSERT_EQ(snapshot_count(&c, &pinned), 2);
        ASSERT_EQ(pinned, 0);

        s = f.broker->shards[SHARD_DATA];
        ASSERT_OK(shard_log_drop(s->log, shard_log_last_index(s->log)));
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(snapshot_count(&c, &pinned), 2);
        ASSERT_GT(pinned, UINT64_C(5) << 20);
        ASSERT_LE(pinned, bytes); /* two hold them, and they are there once */

        restore(&c, "s", &g, 8);
        broker_client_connect(&d, &g);
        ASSERT_EQ(broker_client_read(&d, id, 0), 60);
        broker_client_end(&d);
        broker_fixture_done(&g);

        ASSERT_EQ(snapshot_delete(&c, "s"), DRMQ_ERROR_NONE);
        ASSERT_EQ(snapshot_count(&c, &pinned), 1);
        ASSERT_GT(pinned, UINT64_C(5) << 20);
        ASSERT_EQ(snapshot_delete(&c, "t"), DRMQ_ERROR_NONE);
        ASSERT_EQ(snapshot_count(&c, &pinned), 0);
        ASSERT_EQ(pinned, 0);
        broker_client_end(&c);
        broker_fixture_done(&f);
}

/* While there is no room to close the metadata's log, retention drops what the snapshot was to hold,
 * by a decision that is not in the snapshot: without it the beginning would look damaged. */
TEST(what_retention_takes_meanwhile_is_not_taken_for_damage) {
        Drmq__Proto__SnapshotCreateRequest create = DRMQ__PROTO__SNAPSHOT_CREATE_REQUEST__INIT;
        const struct retention_limits limits = { .max_bytes = 4 * SEGMENT_BYTES_MIN };
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;
        struct broker_fixture f;
        struct broker_client c;
        uint64_t id, creating, closed_index;
        struct shard *s;

        broker_fixture_init(&f, 21);
        f.config.segment_bytes = SEGMENT_BYTES_MIN;
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        id = broker_client_topic(&c, "a", 1);
        for (unsigned i = 0; i < 20; i++)
                (void) broker_client_produce(&c, id, 1, 400000);
        s = f.broker->shards[SHARD_DATA];
        ASSERT_OK(shard_checkpoint(s));
        broker_fixture_run(&f, USEC_PER_SEC);
        closed_index = shard_log_last_index(s->log);
        ASSERT_EQ(s->checkpoint_index, closed_index);

        sim_disk_fail(f.disk, SIM_DISK_OPEN, "shard-0/next", 1, ENOSPC);
        create.name = (char *) "s";
        creating = broker_client_send(&c, FRAME_SNAPSHOT_CREATE, &create, NULL, 0, NULL, 0);
        broker_fixture_run(&f, 100 * USEC_PER_MSEC);
        shard_set_retention(s, &limits);
        broker_fixture_run(&f, 500 * USEC_PER_MSEC);
        ASSERT_GT(shard_log_first_index(s->log), 1);
        ASSERT_GT(s->checkpoint_index, closed_index);
        ASSERT_NULL(broker_client_take(&c, creating));

        r = broker_client_wait(&c, creating);
        ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_BUSY);
        ASSERT_EQ(snapshot_create(&c, "s", 0, false, NULL), DRMQ_ERROR_NONE);
        broker_client_end(&c);
        broker_fixture_done(&f);
}

TEST(a_checkpoint_of_what_came_later_is_not_in_it) {
        Drmq__Proto__SnapshotCreateRequest create = DRMQ__PROTO__SNAPSHOT_CREATE_REQUEST__INIT;
        _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;
        struct broker_fixture f, g;
        struct broker_client c, d;
        uint64_t id, creating;
        struct shard *s;

        begin(&f, &c, 23);
        id = broker_client_topic(&c, "a", 1);
        (void) broker_client_produce(&c, id, 5, 100);
        sim_disk_fail(f.disk, SIM_DISK_OPEN, "shard-0/next", 1, ENOSPC);
        create.name = (char *) "s";
        creating = broker_client_send(&c, FRAME_SNAPSHOT_CREATE, &create, NULL, 0, NULL, 0);
        broker_fixture_run(&f, 100 * USEC_PER_MSEC);
        (void) broker_client_produce(&c, id, 5, 100);
        s = f.broker->shards[SHARD_DATA];
        ASSERT_OK(shard_checkpoint(s));
        broker_fixture_run(&f, 500 * USEC_PER_MSEC);
        ASSERT_EQ(s->checkpoint_index, shard_log_last_index(s->log));
        ASSERT_NULL(broker_client_take(&c, creating));

        r = broker_client_wait(&c, creating);
        ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_NONE);
        restore(&c, "s", &g, 24);
        broker_client_connect(&d, &g);
        ASSERT_EQ(broker_client_read(&d, id, 0), 5);
        broker_client_end(&d);
        broker_fixture_done(&g);
        broker_client_end(&c);
        broker_fixture_done(&f);
}

/* Whether that has been answered by now, and without an error. */
static bool was_done(struct broker_client *c, uint64_t correlation) {
        _cleanup_(broker_reply_freep) struct broker_reply *r = broker_client_take(c, correlation);

        return r && broker_reply_error(r) == DRMQ_ERROR_NONE;
}

/* A log of some segments; snapshots are asked for, one is deleted, and @n_steps later all is over.
 * Nothing under incoming/ is left by the next start, and what is there can be restored. */
static void interrupt(unsigned n_steps, bool power_cut) {
        Drmq__Proto__SnapshotDeleteRequest delete = DRMQ__PROTO__SNAPSHOT_DELETE_REQUEST__INIT;
        Drmq__Proto__SnapshotCreateRequest create = DRMQ__PROTO__SNAPSHOT_CREATE_REQUEST__INIT;
        struct broker_fixture f, g;
        struct broker_client c, d;
        char **names;
        bool is_made, is_deleted, has_new = false, has_old = false;
        uint64_t id, creating, deleting;
        size_t n;

        begin(&f, &c, 100 + n_steps);
        id = broker_client_topic(&c, "a", 1);
        for (unsigned i = 0; i < 15; i++)
                (void) broker_client_produce(&c, id, 1, 100000);
        ASSERT_EQ(snapshot_create(&c, "old", 0, false, NULL), DRMQ_ERROR_NONE);
        (void) broker_client_produce(&c, id, 1, 100000);

        create.name = (char *) "new";
        delete.name = (char *) "old";
        creating = broker_client_send(&c, FRAME_SNAPSHOT_CREATE, &create, NULL, 0, NULL, 0);
        deleting = broker_client_send(&c, FRAME_SNAPSHOT_DELETE, &delete, NULL, 0, NULL, 0);
        (void) send_read(&c, "old", 1, 0, 0);
        for (unsigned i = 0; i < n_steps; i++)
                (void) sim_world_step(f.world, sim_world_now(f.world) + USEC_PER_SEC);
        is_made = was_done(&c, creating);
        is_deleted = was_done(&c, deleting);
        if (n_steps % 3 == 2)
                broker_fixture_stop(&f);
        else
                broker_fixture_end(&f, power_cut);
        broker_client_end(&c);

        broker_fixture_start(&f);
        ASSERT_EQ(f.n_damaged, 0);
        broker_client_connect(&c, &f);
        ASSERT_EQ(broker_client_read(&c, id, 0), 16);
        ASSERT_OK(sim_disk_peek_list(f.disk, BROKER_FIXTURE_DIR "/incoming", &names, &n));
        ASSERT_EQ(n, 0);
        io_names_free(names, n);

        ASSERT_OK(sim_disk_peek_list(f.disk, BROKER_FIXTURE_DIR "/snapshots", &names, &n));
        ASSERT_EQ(snapshot_count(&c, NULL), n);
        for (size_t i = 0; i < n; i++) {
                has_new = has_new || streq(names[i], "new");
                has_old = has_old || streq(names[i], "old");
                restore(&c, names[i], &g, 200 + i);
                broker_client_connect(&d, &g);
                ASSERT_EQ(broker_client_read(&d, id, 0), streq(names[i], "new") ? 16 : 15);
                broker_client_end(&d);
                broker_fixture_done(&g);
        }
        io_names_free(names, n);
        ASSERT_TRUE(has_new || !is_made);
        ASSERT_FALSE(has_old && is_deleted);
        broker_client_end(&c);
        broker_fixture_done(&f);
}

/* I1: whenever a topic is made and written to while a snapshot is, its messages are not in there without
 * it. */
TEST(a_topic_that_has_messages_in_it_is_in_it) {
        unsigned n_with = 0, n_without = 0;

        for (unsigned n_steps = 0; n_steps < 40; n_steps++) {
                Drmq__Proto__SnapshotCreateRequest q = DRMQ__PROTO__SNAPSHOT_CREATE_REQUEST__INIT;
                _cleanup_(broker_reply_freep) struct broker_reply *r = NULL;
                struct broker_fixture f, g;
                struct broker_client c, d;
                uint64_t creating, id;

                begin(&f, &c, 300 + n_steps);
                (void) broker_client_produce(&c, broker_client_topic(&c, "a", 1), 1, 100);
                q.name = (char *) "s";
                creating = broker_client_send(&c, FRAME_SNAPSHOT_CREATE, &q, NULL, 0, NULL, 0);
                for (unsigned i = 0; i < n_steps; i++)
                        (void) sim_world_step(f.world, sim_world_now(f.world) + USEC_PER_SEC);
                id = broker_client_topic(&c, "b", 1);
                (void) broker_client_produce(&c, id, 1, 100);
                r = broker_client_wait(&c, creating);
                ASSERT_EQ(broker_reply_error(r), DRMQ_ERROR_NONE);

                restore(&c, "s", &g, 400 + n_steps);
                broker_client_connect(&d, &g);
                if (broker_client_delete(&d, "b") == DRMQ_ERROR_NONE)
                        n_with++;
                else {
                        n_without++;
                        ASSERT_EQ(broker_client_topic(&d, "c", 1), id); /* nothing has it */
                }
                broker_client_end(&d);
                broker_client_end(&c);
                broker_fixture_done(&g);
                broker_fixture_done(&f);
        }
        ASSERT_GT(n_with, 0);
        ASSERT_GT(n_without, 0);
}

TEST(interrupted_at_any_moment_it_is_whole_or_not_there, .timeout_sec = 120) {
        for (unsigned n_steps = 0; n_steps < 160; n_steps += 1 + n_steps / 10) {
                interrupt(n_steps, /* power_cut= */ false);
                interrupt(n_steps, /* power_cut= */ true);
        }
}

TEST(who_does_not_take_what_was_read_costs_one_piece) {
        struct broker_fixture f;
        struct broker_client deaf, c;
        uint64_t id;

        begin(&f, &c, 9);
        id = broker_client_topic(&c, "a", 1);
        for (unsigned i = 0; i < 30; i++)
                (void) broker_client_produce(&c, id, 1, 200000);
        ASSERT_EQ(snapshot_create(&c, "s", 0, false, NULL), DRMQ_ERROR_NONE);
        broker_client_connect(&deaf, &f);
        deaf.is_deaf = true;
        for (unsigned i = 0; i < 50; i++)
                (void) send_read(&deaf, "s", 4, 0, 0);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_LE(f.broker->fetches.peak_bytes, UINT64_C(5) << 20);

        /* Others read on. */
        manifest_free(read_contents(&c, "s"));
        ASSERT_EQ(broker_client_read(&c, id, 0), 30);
        broker_client_end(&deaf);
        broker_fixture_run(&f, USEC_PER_SEC);
        ASSERT_EQ(f.broker->fetches.used_bytes, 0);
        ASSERT_EQ(f.broker->requests.used_bytes, 0);
        broker_client_end(&c);
        broker_fixture_stop(&f);
        broker_fixture_done(&f);
}

TEST(where_it_cannot_be_made_nothing_is_left_of_it) {
        for (uint64_t n = 1;; n++) {
                struct broker_fixture f;
                struct broker_client c;
                enum drmq_error error;
                unsigned n_left;
                char **names;
                size_t n_names;

                begin(&f, &c, 10);
                (void) broker_client_produce(&c, broker_client_topic(&c, "a", 1), 1, 1000);
                sim_disk_fail(f.disk, UINT32_MAX, "snapshot-s", n, ENOSPC);
                error = snapshot_create(&c, "s", 0, false, NULL);
                n_left = sim_disk_fail_clear(f.disk);
                if (n_left > 0) {
                        ASSERT_EQ(error, DRMQ_ERROR_NONE);
                        ASSERT_GT(n, 10); /* so there were some that failed */
                } else {
                        ASSERT_EQ(error, DRMQ_ERROR_DISK_FULL);
                        ASSERT_OK(sim_disk_peek_list(
                                f.disk, BROKER_FIXTURE_DIR "/incoming", &names, &n_names));
                        ASSERT_EQ(n_names, 0);
                        io_names_free(names, n_names);
                        ASSERT_EQ(snapshot_count(&c, NULL), 0);
                        ASSERT_EQ(snapshot_create(&c, "s", 0, false, NULL), DRMQ_ERROR_NONE);
                }
                broker_client_end(&c);
                broker_fixture_stop(&f);
                broker_fixture_done(&f);
                if (n_left > 0)
                        break;
        }
}

TEST(a_damaged_table_of_contents_is_told_and_can_be_deleted) {
        struct broker_fixture f;
        struct broker_client c;

        begin(&f, &c, 11);
        ASSERT_EQ(snapshot_create(&c, "s", 0, false, NULL), DRMQ_ERROR_NONE);
        broker_client_end(&c);
        broker_fixture_stop(&f);
        ASSERT_OK(sim_disk_flip_bit(
                f.disk, BROKER_FIXTURE_DIR "/snapshots/s/" MANIFEST_CONTENTS_NAME, 40, 1));
        broker_fixture_start(&f);
        broker_client_connect(&c, &f);
        ASSERT_EQ(snapshot_count(&c, NULL), 1);
        ASSERT_EQ(try_read(&c, "s", 0, 0), DRMQ_ERROR_DAMAGED);
        ASSERT_EQ(snapshot_create(&c, "s", 1, false, NULL), DRMQ_ERROR_SNAPSHOT_EXISTS);
        ASSERT_EQ(snapshot_delete(&c, "s"), DRMQ_ERROR_NONE);
        ASSERT_EQ(snapshot_create(&c, "s", 1, false, NULL), DRMQ_ERROR_NONE);
        broker_client_end(&c);
        broker_fixture_stop(&f);
        broker_fixture_done(&f);
}
