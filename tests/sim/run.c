/* SPDX-License-Identifier: Apache-2.0 */

/* One run; checkers live, leak and (after a stop in good order) start. */

#include "tests/sim/run.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "drmqd/core/core.h"
#include "tests/sim/admin.h"
#include "tests/sim/nemesis.h"

#define READ_BACK_READERS 2u
/* Without faults everything comes to its end within this. */
#define LIVE_USEC (180 * USEC_PER_SEC)
/* More events than this without an end: something spins. */
#define EVENTS_MAX UINT64_C(30000000)

struct run {
        struct sim_verdict *verdict;
        struct sim_world *world;
        struct random random;
        struct sim_server server;
        struct sim_clients clients;
        struct sim_sender senders[SIM_SENDERS_MAX];
        unsigned n_senders;
        struct sim_reader readers[SIM_READERS_MAX];
        unsigned n_readers;
        struct sim_admin admin;
        uint64_t n_looks_before;
        struct sim_nemesis nemesis;
        bool has_nemesis;
        uint64_t n_events;
        uint64_t n_gone;
};

static uint64_t pick(struct random *r, const uint64_t *values, size_t n) {
        return values[random_below(r, n)];
}

#define PICK(r, ...)                                                                               \
        pick((r),                                                                                  \
             (const uint64_t[]){ __VA_ARGS__ },                                                    \
             sizeof((uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

/* ---- What kind of run it is ---- */

static void set_up_server(struct run *run) {
        struct random *r = &run->random;
        struct broker_config *c = &run->server.config;

        sim_server_init(&run->server, run->world, run->verdict, random_u64(r));
        c->auto_create = true;
        c->default_partitions = random_between(r, 1, 4);
        c->segment_bytes = PICK(r, 1 << 20, 1 << 20, 2 << 20);
        c->checkpoint_bytes = PICK(r, 16 << 10, 64 << 10, 256 << 10, 16 << 20);
        c->reserve_bytes = PICK(r, 0, 1 << 20, RESERVE_BYTES_DEFAULT);
        c->log_max_bytes = PICK(r, 0, 0, 2 << 20, 3 << 20);
        c->log_max_age_usec = PICK(r, 0, 0, 0, 3 * USEC_PER_SEC);
        c->request_budget_bytes = PICK(r, 1 << 20, REQUEST_BUDGET_BYTES_DEFAULT);
        c->fetch_budget_bytes = PICK(r, 1 << 20, FETCH_BUDGET_BYTES_DEFAULT);
}

static void set_up_sender(struct run *run, struct sim_sender *s) {
        struct random *r = &run->random;

        *s = (struct sim_sender){
                .all = &run->clients,
                .config = PRODUCER_CONFIG_DEFAULT,
                .value_bytes_max = PICK(r, 100, 2000, 20000, 100000),
                .burst_max = (unsigned) PICK(r, 1, 4, 20),
                .pause_max_usec = PICK(r, 10000, 50000, 200000),
                .keys = (unsigned) PICK(r, 0, 3, 100),
        };
        random_init(&s->random, random_u64(r));
        s->config.acks = random_chance(r, 1, 6) ? PRODUCER_ACKS_LEADER : PRODUCER_ACKS_ALL;
        s->config.codec = random_chance(r, 1, 2) ? CODEC_NONE : (enum codec) random_below(r, 5);
        s->config.level = CODEC_LEVEL_DEFAULT;
        s->config.linger_usec = PICK(r, 0, 1000, 5000, 50000);
        s->config.batch_bytes = PICK(r, 2000, 16 << 10, 256 << 10);
        s->config.timeout_usec = PICK(r, 3 * USEC_PER_SEC, 30 * USEC_PER_SEC, 30 * USEC_PER_SEC);
        s->config.partitioner = (enum producer_partitioner) random_below(r, PRODUCER_CALLBACK);
        if (random_chance(r, 1, 3)) {
                s->is_hostile = true;
                s->value_bytes_max = 70000;
                s->config.codec = CODEC_NONE;
        }
        if (s->value_bytes_max > 2000) {
                s->burst_max = MIN(s->burst_max, 4u);
                s->pause_max_usec = MAX(s->pause_max_usec, 100 * USEC_PER_MSEC);
        }
}

static void set_up_reader(struct run *run, struct sim_reader *reader, unsigned number) {
        struct random *r = &run->random;

        *reader = (struct sim_reader){
                .all = &run->clients,
                .config = CONSUMER_CONFIG_DEFAULT,
                .group = random_chance(r, 2, 3) ? number : 0,
                .pause_max_usec = PICK(r, 2000, 20000, 200000),
                .take_max = (unsigned) PICK(r, 10, 1000),
        };
        (void) snprintf(reader->name, sizeof(reader->name), "reader-%u", number);
        random_init(&reader->random, random_u64(r));
        reader->config.fetch_bytes = PICK(r, 10000, 1 << 20);
        reader->config.buffer_bytes = PICK(r, 100000, 8 << 20);
        if (run->clients.has_retention)
                reader->config.out_of_range = CONSUMER_OUT_OF_RANGE_BEGINNING;
}

static void set_up(struct run *run, uint64_t seed) {
        random_init(&run->random, seed);
        (void) sim_world_new(random_u64(&run->random), run->verdict->trace, &run->world);
        set_up_server(run);

        run->clients = (struct sim_clients){
                .world = run->world,
                .verdict = run->verdict,
                .n_topics = (unsigned) random_between(&run->random, 1, 4),
                .may_find_damage = random_chance(&run->random, 1, 5),
                .has_retention = run->server.config.log_max_bytes > 0 ||
                                 run->server.config.log_max_age_usec > 0,
        };
        /* Where damage is, nobody can tell what a power cut took from what is refused. */
        if (!run->clients.may_find_damage)
                run->server.config.sync_usec = PICK(&run->random,
                                                    0,
                                                    0,
                                                    0,
                                                    20 * USEC_PER_MSEC,
                                                    100 * USEC_PER_MSEC,
                                                    USEC_PER_SEC,
                                                    USEC_INFINITY);
        (void) sim_messages_new(
                run->verdict, &sim_world_net(run->world)->now_usec, &run->clients.messages);
        (void) sim_positions_new(run->verdict, &run->clients.positions);

        run->n_senders = (unsigned) random_between(&run->random, 1, SIM_SENDERS_MAX);
        for (unsigned i = 0; i < run->n_senders; i++)
                set_up_sender(run, run->senders + i);
        run->n_readers = (unsigned) random_between(&run->random, 1, SIM_READERS_MAX);
        for (unsigned i = 0; i < run->n_readers; i++)
                set_up_reader(run, run->readers + i, i + 1);

        run->admin = (struct sim_admin){
                .all = &run->clients,
                .pause_max_usec = PICK(&run->random, 20000, 200000, 2000000),
        };
        random_init(&run->admin.random, random_u64(&run->random));
        (void) sim_topics_new(run->verdict, &run->admin.topics);
        if (seed % 3 == 0)
                (void) sim_snapshots_new(run->verdict, &run->admin.snapshots);

        run->nemesis = (struct sim_nemesis){
                .world = run->world,
                .server = &run->server,
                .senders = run->senders,
                .n_senders = run->n_senders,
                .readers = run->readers,
                .n_readers = run->n_readers,
                .allows_damage = run->clients.may_find_damage,
        };
        sim_nemesis_init(&run->nemesis, random_u64(&run->random));
}

static void tear_down(struct run *run) {
        for (unsigned i = 0; i < run->n_senders; i++)
                sim_sender_kill(run->senders + i);
        for (unsigned i = 0; i < run->n_readers; i++)
                sim_reader_kill(run->readers + i);
        sim_admin_kill(&run->admin);
        sim_server_done(&run->server);
        sim_topics_free(run->admin.topics);
        sim_snapshots_free(run->admin.snapshots);
        sim_messages_free(run->clients.messages);
        sim_positions_free(run->clients.positions);
        sim_world_free(run->world);
}

/* ---- Running ---- */

/* As the broker has it, of one of the topics of this run. */
static uint64_t next_offset(void *userdata, unsigned topic, unsigned partition) {
        const struct broker *b = userdata;
        char name[32];

        sim_topic_name(name, topic);
        MAP_FOREACH(&b->shards[SHARD_METADATA]->state->topic_partitions, n) {
                const struct topic_partition *tp = CONTAINER_OF(n, struct topic_partition, by_id);
                const struct partition *p;

                if (tp->number != partition || !streq(tp->topic->name, name))
                        continue;
                p = state_partition(b->shards[SHARD_DATA]->state, tp->id);
                return p ? p->next_offset : 0;
        }
        return 0;
}

/* The broker is ready again, and a power cut may have taken what it had not synced. Readers lost
 * power too. */
static void look_at_loss(struct run *run) {
        if (!run->server.has_lost_end)
                return;

        run->server.has_lost_end = false;
        for (unsigned i = 0; i < run->n_readers; i++)
                sim_reader_kill(run->readers + i);
        sim_messages_on_power_lost(
                run->clients.messages, next_offset, run->server.broker, run->server.kept_usec);
        sim_positions_on_power_lost(run->clients.positions);
        for (unsigned i = 0; i < run->n_readers; i++)
                sim_reader_start(run->readers + i);
}

/* One event, or what is due at @until. Return: whether to go on. */
static bool step(struct run *run, usec_t until) {
        usec_t next = MIN(until, sim_server_next_usec(&run->server));

        if (run->verdict->checker)
                return false;
        if (++run->n_events > EVENTS_MAX) {
                sim_violation(run->verdict, "live", "%" PRIu64 " events and no end", EVENTS_MAX);
                return false;
        }

        if (run->has_nemesis)
                next = MIN(next, sim_nemesis_next_usec(&run->nemesis));
        (void) sim_world_step(run->world, MAX(next, sim_world_now(run->world)));
        look_at_loss(run);
        sim_server_settle(&run->server);
        if (run->has_nemesis)
                sim_nemesis_settle(&run->nemesis);
        return sim_world_now(run->world) < until;
}

/* Runs until @is_done, LIVE_USEC at most. Return: whether it came to that. */
static bool run_until(struct run *run, bool (*is_done)(struct run *run), const char *what) {
        usec_t until = sim_world_now(run->world) + LIVE_USEC;

        while (!is_done(run)) {
                if (!step(run, until)) {
                        if (!run->clients.may_find_damage)
                                sim_violation(run->verdict,
                                              "live",
                                              "without faults it should have come to this: %s",
                                              what);
                        return false;
                }
                if (run->server.is_wrecked)
                        return false;
        }

        return !run->verdict->checker;
}

static bool senders_are_done(struct run *run) {
        for (unsigned i = 0; i < run->n_senders; i++)
                if (!sim_sender_is_done(run->senders + i))
                        return false;
        return true;
}

static bool server_is_ready(struct run *run) {
        return run->server.is_ready;
}

static bool admin_has_looked(struct run *run) {
        return run->admin.n_looks > run->n_looks_before;
}

static bool server_is_down(struct run *run) {
        return !run->server.process;
}

static bool readers_are_done(struct run *run) {
        for (unsigned i = 0; i < run->n_readers; i++)
                if (!sim_reader_is_done(run->readers + i) && !run->readers[i].has_failed)
                        return false;
        return true;
}

/* Everything from the beginning, by readers of its own. */
static void read_back(struct run *run) {
        struct broker_summary summary;

        for (unsigned i = 0; i < run->n_readers; i++)
                sim_reader_kill(run->readers + i);

        run->n_readers = READ_BACK_READERS;
        for (unsigned i = 0; i < run->n_readers; i++) {
                set_up_reader(run, run->readers + i, i + 10);
                run->readers[i].group = 0;
                run->readers[i].pause_max_usec = 5000;
                run->readers[i].take_max = 1000;
                run->readers[i].config.stop_at_end = true;
                run->readers[i].config.wait_for_topic = false;
                sim_reader_start(run->readers + i);
        }

        if (!run_until(run, readers_are_done, "all is read"))
                return;

        /* A broker that does not know where its partitions end has said so: it takes no
         * messages. */
        broker_summary(run->server.broker, &summary);
        for (unsigned i = 0; i < run->clients.n_topics && !summary.is_writable; i++)
                sim_messages_on_refused(run->clients.messages, i);
        run->n_gone = sim_retention_judge(run->server.retention,
                                          run->clients.messages,
                                          run->server.broker,
                                          run->clients.n_topics,
                                          run->server.may_find_damage);
        sim_messages_judge(run->clients.messages);
}

/* A stop in good order, and a start that has nothing to replay. */
static void stop_and_start(struct run *run) {
        struct broker_summary summary;

        sim_server_stop(&run->server);
        if (!run_until(run, server_is_down, "the broker has stopped"))
                return;
        if (!run_until(run, server_is_ready, "the broker is ready"))
                return;

        broker_summary(run->server.broker, &summary);
        if (summary.n_replayed > 0 && !run->clients.may_find_damage)
                sim_violation(run->verdict,
                              "start",
                              "after a stop in good order %" PRIu64 " entries were replayed",
                              summary.n_replayed);
}

static void run_all(struct run *run, usec_t fault_usec) {
        sim_server_start(&run->server);
        for (unsigned i = 0; i < run->n_senders; i++)
                sim_sender_start(run->senders + i);
        for (unsigned i = 0; i < run->n_readers; i++)
                sim_reader_start(run->readers + i);

        /* Where entries are damaged a topic may be lost in them. */
        if (!run->clients.may_find_damage)
                sim_admin_start(&run->admin);

        run->has_nemesis = true;
        while (step(run, fault_usec))
                ;
        run->has_nemesis = false;
        sim_nemesis_heal(&run->nemesis);
        sim_disk_crash_at(run->server.disk, 0);
        sim_trace(run->verdict->trace, "no more faults");

        for (unsigned i = 0; i < run->n_senders; i++)
                sim_sender_stop(run->senders + i);
        if (!run_until(run, senders_are_done, "all that was sent has an outcome"))
                return;
        if (!run_until(run, server_is_ready, "the broker is ready"))
                return;

        sim_server_end(
                &run->server, /* power_cut= */ random_chance(&run->random, 2, 3), USEC_PER_MSEC);
        if (!run_until(run, server_is_ready, "the broker is ready"))
                return;
        read_back(run);
        run->n_looks_before = run->admin.n_looks;
        if (run->admin.process &&
            !run_until(run, admin_has_looked, "the admin is told what topics there are"))
                return;
        if (!run->verdict->checker)
                stop_and_start(run);
        if (!run->verdict->checker && run->admin.snapshots && run->admin.process &&
            run->server.is_ready)
                sim_snapshots_judge(run->admin.snapshots, run->server.disk, SIM_SERVER_DATA_DIR);
}

void sim_run(const struct sim_run_options *o, struct sim_run_result *ret) {
        struct sim_trace trace;
        struct run run = { .verdict = &ret->verdict };
        size_t bytes_before = mem_bytes();

        *ret = (struct sim_run_result){};
        sim_trace_init(&trace, o->is_printed);
        ret->verdict.trace = &trace;

        set_up(&run, o->seed);
        run_all(&run, o->fault_usec);
        ret->simulated_usec = sim_world_now(run.world);
        ret->n_sent = sim_messages_n_made(run.clients.messages);
        ret->n_acknowledged = sim_messages_n_acknowledged(run.clients.messages);
        ret->n_lost = sim_messages_n_lost(run.clients.messages);
        ret->n_read = sim_messages_n_read(run.clients.messages);
        ret->n_gone = run.n_gone;
        tear_down(&run);

        if (mem_bytes() != bytes_before)
                sim_violation(&ret->verdict,
                              "leak",
                              "%zd bytes are still held when all are gone",
                              (ssize_t) (mem_bytes() - bytes_before));
        ret->hash = trace.hash;
        ret->n_lines = trace.n_lines;
        ret->verdict.trace = NULL;
}
