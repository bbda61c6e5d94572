/* SPDX-License-Identifier: Apache-2.0 */

/* Makes and deletes topics and snapshots, and tells the checkers what was said. */

#include "tests/sim/admin.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/drmq.pb-c.h"
#include "tests/sim/image.h"

#define CALL_USEC (8 * USEC_PER_SEC)
/* A request whose connection is gone is carried out within this, or never. */
#define REST_USEC (5 * USEC_PER_SEC)
/* The numbers of scratch topics, for the checker, begin here. */
#define SCRATCH_FIRST 100u
#define PARTITIONS_MAX 64u

static void scratch_name(char dest[static 32], unsigned i) {
        (void) snprintf(dest, 32, "scratch-%u", i);
}

static void schedule(struct sim_admin *a) {
        struct io *io = sim_process_io(a->process);

        if (io_timer_set(io,
                         &a->timer,
                         io_now(io) + random_between(&a->random, 1, a->pause_max_usec)) < 0)
                abort();
}

/* What is asked of the subject may come to pass later, or not at all. */
static void on_unknown(struct sim_admin *a) {
        sim_topics_on_unknown(a->topics, a->subject);
        a->rest_until_usec[a->subject - SCRATCH_FIRST] =
                io_now(sim_process_io(a->process)) + REST_USEC;
}

static void on_changed(
        struct call *c, int r, const char *text, const ProtobufCMessage *answer, void *userdata) {
        struct sim_admin *a = userdata;
        uint32_t code = DRMQ_ERROR_NONE;

        if (c->type == FRAME_TOPIC_ALTER && answer) {
                const Drmq__Proto__TopicAlterResponse *m = (const void *) answer;

                code = m->error ? m->error->code : DRMQ_ERROR_NONE;
        } else if (answer) {
                /* The answers to create and delete have the same form. */
                const Drmq__Proto__TopicCreateResponse *m = (const void *) answer;

                if (m->n_topic == 1 && m->topic[0]->error)
                        code = m->topic[0]->error->code;
                else if (m->error)
                        code = m->error->code;
        }
        sim_trace(sim_world_trace(a->all->world),
                  "admin: request %d of topic %u ends: %d, code %" PRIu32 " %s",
                  c->type,
                  a->subject,
                  r,
                  code,
                  text ?: "");

        /* A call that is made again may find what it did itself. */
        if (code == DRMQ_ERROR_UNKNOWN_TOPIC)
                sim_topics_on_absent(a->topics, a->subject);
        else if (code == DRMQ_ERROR_TOPIC_EXISTS)
                sim_topics_on_present(a->topics, a->subject, /* n_partitions= */ 0);
        else if (r < 0 || code != DRMQ_ERROR_NONE)
                on_unknown(a);
        else if (c->type == FRAME_TOPIC_DELETE)
                sim_topics_on_absent(a->topics, a->subject);
        else
                sim_topics_on_present(a->topics, a->subject, a->n_partitions);
        schedule(a);
}

static void
on_looked(struct call *c, int r, const char *text, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__MetadataResponse *m = (const void *) answer;
        struct sim_admin *a = userdata;

        (void) c;
        (void) text;
        for (size_t i = 0; answer && i < m->n_topic; i++) {
                const Drmq__Proto__Topic *topic = m->topic[i];
                const bool is_scratch = strncmp(topic->name, "scratch-", 8) == 0;
                const unsigned number = (unsigned) atoi(strchr(topic->name, '-') + 1);
                const unsigned subject = is_scratch ? SCRATCH_FIRST + number : number;
                uint64_t ids[PARTITIONS_MAX];
                uint32_t code = topic->error ? topic->error->code : DRMQ_ERROR_NONE;

                if (code != DRMQ_ERROR_NONE && code != DRMQ_ERROR_UNKNOWN_TOPIC)
                        continue;
                for (size_t k = 0; k < MIN(topic->n_partition, (size_t) PARTITIONS_MAX); k++)
                        ids[k] = topic->partition[k]->id;
                if (code == DRMQ_ERROR_NONE)
                        sim_topics_on_metadata(a->topics,
                                               subject,
                                               ids,
                                               MIN(topic->n_partition, (size_t) PARTITIONS_MAX));
                else
                        sim_topics_on_metadata(a->topics, subject, NULL, 0);
                if (code == DRMQ_ERROR_UNKNOWN_TOPIC && !is_scratch)
                        sim_topics_on_unknown(a->topics, subject); /* made by whoever sends to it */
        }
        a->n_looks += r >= 0;
        schedule(a);
}

static void start_call(struct sim_admin *a,
                       call_done_t on_done,
                       enum frame_type type,
                       const void *message,
                       const ProtobufCMessageDescriptor *descriptor) {
        call_init(&a->call, on_done, a);
        if (call_start(&a->call,
                       a->session,
                       type,
                       message,
                       descriptor,
                       io_now(sim_process_io(a->process)) + CALL_USEC) < 0)
                abort();
}

static void look(struct sim_admin *a) {
        Drmq__Proto__MetadataRequest m = DRMQ__PROTO__METADATA_REQUEST__INIT;
        char names[SIM_SCRATCH_TOPICS + 8][32], *topics[SIM_SCRATCH_TOPICS + 8];
        size_t n = 0;

        for (unsigned i = 0; i < SIM_SCRATCH_TOPICS; i++, n++)
                scratch_name(names[n], i);
        for (unsigned i = 0; i < MIN(a->all->n_topics, 8u); i++, n++)
                sim_topic_name(names[n], i);
        for (size_t i = 0; i < n; i++)
                topics[i] = names[i];
        m.topic = topics;
        m.n_topic = n;
        start_call(a, on_looked, FRAME_METADATA, &m, &drmq__proto__metadata_response__descriptor);
}

static void change(struct sim_admin *a, unsigned i) {
        char name[32], *names[] = { name };

        scratch_name(name, i);
        a->subject = SCRATCH_FIRST + i;
        a->n_partitions = (unsigned) random_between(&a->random, 1, 6);

        switch (random_below(&a->random, 5)) {
        case 0:
        case 1: {
                Drmq__Proto__TopicCreateRequest m = DRMQ__PROTO__TOPIC_CREATE_REQUEST__INIT;
                Drmq__Proto__NewTopic topic = DRMQ__PROTO__NEW_TOPIC__INIT;
                Drmq__Proto__NewTopic *list[] = { &topic };

                topic.name = name;
                topic.partitions = a->n_partitions;
                m.topic = list;
                m.n_topic = 1;
                start_call(a,
                           on_changed,
                           FRAME_TOPIC_CREATE,
                           &m,
                           &drmq__proto__topic_create_response__descriptor);
                break;
        }
        case 2:
        case 3: {
                Drmq__Proto__TopicDeleteRequest m = DRMQ__PROTO__TOPIC_DELETE_REQUEST__INIT;

                m.name = names;
                m.n_name = 1;
                start_call(a,
                           on_changed,
                           FRAME_TOPIC_DELETE,
                           &m,
                           &drmq__proto__topic_delete_response__descriptor);
                break;
        }
        default: {
                Drmq__Proto__TopicAlterRequest m = DRMQ__PROTO__TOPIC_ALTER_REQUEST__INIT;

                m.name = name;
                m.partitions = a->n_partitions + 6;
                a->n_partitions = m.partitions;
                start_call(a,
                           on_changed,
                           FRAME_TOPIC_ALTER,
                           &m,
                           &drmq__proto__topic_alter_response__descriptor);
        }
        }
}

static void on_snapshot_changed(
        struct call *c, int r, const char *text, const ProtobufCMessage *answer, void *userdata) {
        struct sim_admin *a = userdata;
        const bool is_create = c->type == FRAME_SNAPSHOT_CREATE;

        (void) answer;
        sim_trace(sim_world_trace(a->all->world),
                  "admin: %s of snapshot %u ends: %d, %s",
                  is_create ? "create" : "delete",
                  a->subject,
                  r,
                  text ?: "");
        if (r < 0)
                sim_snapshots_on_unknown(a->snapshots, a->subject);
        else if (is_create)
                sim_snapshots_on_present(a->snapshots, a->subject);
        else
                sim_snapshots_on_absent(a->snapshots, a->subject);
        schedule(a);
}

static void change_snapshots(struct sim_admin *a) {
        const unsigned number = sim_snapshots_pick(a->snapshots);
        char name[32];

        if (number != UINT_MAX && random_chance(&a->random, 1, 2)) {
                Drmq__Proto__SnapshotDeleteRequest m = DRMQ__PROTO__SNAPSHOT_DELETE_REQUEST__INIT;

                a->subject = number;
                sim_snapshot_name(name, number);
                m.name = name;
                start_call(a,
                           on_snapshot_changed,
                           FRAME_SNAPSHOT_DELETE,
                           &m,
                           &drmq__proto__snapshot_delete_response__descriptor);
        } else {
                Drmq__Proto__SnapshotCreateRequest m = DRMQ__PROTO__SNAPSHOT_CREATE_REQUEST__INIT;

                a->subject = sim_snapshots_begin(a->snapshots);
                sim_snapshot_name(name, a->subject);
                m.name = name;
                m.token = a->subject + 1;
                start_call(a,
                           on_snapshot_changed,
                           FRAME_SNAPSHOT_CREATE,
                           &m,
                           &drmq__proto__snapshot_create_response__descriptor);
        }
}

static void on_timer(struct io_timer *t, void *userdata) {
        struct sim_admin *a = userdata;
        unsigned i = (unsigned) random_below(&a->random, SIM_SCRATCH_TOPICS);

        (void) t;
        if (a->snapshots && random_chance(&a->random, 1, 3))
                change_snapshots(a);
        else if (random_chance(&a->random, 1, 2) ||
                 a->rest_until_usec[i] > io_now(sim_process_io(a->process)))
                look(a);
        else
                change(a, i);
}

void sim_admin_start(struct sim_admin *a) {
        sim_start_process(a->all, "admin", &a->process, &a->session);
        a->timer = (struct io_timer){ .on_timer = on_timer, .userdata = a };
        session_connect(a->session);
        schedule(a);
}

void sim_admin_kill(struct sim_admin *a) {
        if (!a->process)
                return;

        sim_process_kill(a->process, /* is_silent= */ false);
        if (call_is_pending(&a->call))
                call_cancel(&a->call);
        a->session = session_free(a->session);
        a->process = sim_process_free(a->process);
}
