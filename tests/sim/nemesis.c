/* SPDX-License-Identifier: Apache-2.0 */

/* Chooses what goes wrong. Nothing here knows of bugs, planted or not. */

#include "tests/sim/nemesis.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"

static const char *const act_names[_SIM_ACT_MAX] = {
        [SIM_ACT_KILL] = "kill",
        [SIM_ACT_POWER_CUT] = "power cut",
        [SIM_ACT_CRASH_IN_OPERATION] = "crash in an operation",
        [SIM_ACT_STOP] = "stop",
        [SIM_ACT_SYNC_FAILS] = "a sync fails",
        [SIM_ACT_WRITE_FAILS] = "a write fails",
        [SIM_ACT_DISK_FULL] = "the disk is full",
        [SIM_ACT_SHORT_WRITES] = "short writes",
        [SIM_ACT_SLOW_DISK] = "slow disk",
        [SIM_ACT_FLIP_COPY] = "a bit flips in one of two copies",
        [SIM_ACT_FLIP_REBUILDABLE] = "a bit flips in what can be rebuilt",
        [SIM_ACT_FLIP_LOG] = "a bit flips in the log",
        [SIM_ACT_BREAK] = "connections break",
        [SIM_ACT_BAD_NETWORK] = "bad network",
        [SIM_ACT_KILL_CLIENT] = "a client dies",
        [SIM_ACT_WALL_JUMPS] = "the wall clock jumps",
};

/* How often each is done where it is done at all. */
static const unsigned act_weights[_SIM_ACT_MAX] = {
        [SIM_ACT_KILL] = 6,       [SIM_ACT_POWER_CUT] = 12,       [SIM_ACT_CRASH_IN_OPERATION] = 30,
        [SIM_ACT_STOP] = 6,       [SIM_ACT_SYNC_FAILS] = 3,       [SIM_ACT_WRITE_FAILS] = 2,
        [SIM_ACT_DISK_FULL] = 2,  [SIM_ACT_SHORT_WRITES] = 2,     [SIM_ACT_SLOW_DISK] = 3,
        [SIM_ACT_FLIP_COPY] = 6,  [SIM_ACT_FLIP_REBUILDABLE] = 4, [SIM_ACT_FLIP_LOG] = 4,
        [SIM_ACT_BREAK] = 10,     [SIM_ACT_BAD_NETWORK] = 4,      [SIM_ACT_KILL_CLIENT] = 5,
        [SIM_ACT_WALL_JUMPS] = 2,
};

void sim_nemesis_init(struct sim_nemesis *n, uint64_t seed) {
        static const usec_t pauses[] = { 20 * USEC_PER_MSEC,
                                         200 * USEC_PER_MSEC,
                                         800 * USEC_PER_MSEC };

        random_init(&n->random, seed);
        n->pause_max_usec = pauses[random_below(&n->random, ELEMENTSOF(pauses))];
        n->heal_usec = USEC_INFINITY;
        n->next_usec = sim_world_now(n->world) + random_below(&n->random, USEC_PER_SEC);

        for (unsigned i = 0; i < _SIM_ACT_MAX; i++)
                n->weights[i] = random_chance(&n->random, 2, 3) ? act_weights[i] : 0;
        if (!n->allows_damage)
                n->weights[SIM_ACT_FLIP_LOG] = 0;
        n->weights[SIM_ACT_POWER_CUT] += 1; /* there is always something to do */
}

static void last(struct sim_nemesis *n, usec_t usec_max) {
        n->heal_usec =
                sim_world_now(n->world) + random_between(&n->random, USEC_PER_MSEC, usec_max);
}

static usec_t down_usec(struct sim_nemesis *n) {
        return random_chance(&n->random, 1, 2) ? random_below(&n->random, 1000)
                                               : random_below(&n->random, 400 * USEC_PER_MSEC);
}

/* A bit in one copy of a file that has two good ones, so that nothing is lost. */
static void flip_copy(struct sim_nemesis *n) {
        static const char *const paths[] = {
                SIM_SERVER_DATA_DIR "/node",
                SIM_SERVER_DATA_DIR "/shard-0/hardstate",
                SIM_SERVER_DATA_DIR "/shard-1/hardstate",
        };
        const char *path = paths[random_below(&n->random, ELEMENTSOF(paths))];

        if (!n->server->is_ready || sim_disk_check_copies(n->server->disk, path) < 2)
                return;

        (void) sim_disk_flip_bit(n->server->disk,
                                 path,
                                 random_below(&n->random, 2) * 4096 + random_below(&n->random, 128),
                                 (unsigned) random_below(&n->random, 8));
}

static bool is_checkpoint(const char *name) {
        return strncmp(name, "checkpoint-", 11) == 0;
}

/* A bit of an index file or a checkpoint; not of a second checkpoint while there is one that is bad:
 * where retention took the beginning of the log, nothing could be made from what is left. */
static void flip_rebuildable(struct sim_nemesis *n) {
        const unsigned shard = (unsigned) random_below(&n->random, 2);
        char dir[64], **names, *name = NULL, *path = NULL;
        char *bad = n->bad_checkpoints[shard];
        unsigned n_candidates = 0;
        bool is_bad_there = false;
        uint64_t size;
        size_t n_names;

        (void) snprintf(dir, sizeof(dir), SIM_SERVER_DATA_DIR "/shard-%u", shard);
        if (sim_disk_peek_list(n->server->disk, dir, &names, &n_names) < 0)
                return;

        for (size_t i = 0; i < n_names; i++)
                is_bad_there |= streq(names[i], bad);
        for (size_t i = 0; i < n_names; i++)
                if ((strstr(names[i], ".idx") ||
                     (is_checkpoint(names[i]) && (!is_bad_there || streq(names[i], bad)))) &&
                    random_below(&n->random, ++n_candidates) == 0)
                        name = names[i];

        if (name && asprintf(&path, "%s/%s", dir, name) < 0)
                abort();
        if (path && sim_disk_peek_size(n->server->disk, path, &size) >= 0 && size > 0) {
                (void) sim_disk_flip_bit(n->server->disk,
                                         path,
                                         random_below(&n->random, size),
                                         (unsigned) random_below(&n->random, 8));
                if (is_checkpoint(name))
                        (void) snprintf(bad, sizeof(n->bad_checkpoints[0]), "%s", name);
        }
        io_names_free(names, n_names);
        free(path);
}

/* Of the messages' shard: who has lost the names of topics cannot name what it refuses. */
static void flip_log(struct sim_nemesis *n) {
        uint64_t pos;
        char *path;

        if (!sim_disk_check_pick(n->server->check,
                                 &n->random,
                                 "/shard-1/",
                                 /* anywhere= */ random_chance(&n->random, 1, 2),
                                 &path,
                                 &pos))
                return;

        n->server->may_find_damage = true;
        (void) sim_disk_flip_bit(
                n->server->disk, path, pos, (unsigned) random_below(&n->random, 8));
        free(path);
}

static void kill_client(struct sim_nemesis *n) {
        unsigned i = (unsigned) random_below(&n->random, n->n_senders + n->n_readers);

        if (i < n->n_senders) {
                sim_sender_kill(n->senders + i);
                sim_sender_start(n->senders + i);
        } else {
                sim_reader_kill(n->readers + (i - n->n_senders));
                sim_reader_start(n->readers + (i - n->n_senders));
        }
}

static void slow_disk(struct sim_nemesis *n) {
        struct sim_disk_speed *speed = &n->server->speed;
        uint64_t factor = random_between(&n->random, 5, 200);

        *speed = sim_disk_speed_default;
        speed->log_max *= factor;
        speed->read_max *= factor;
        speed->background_max *= factor / 4 + 1;
        if (n->server->process)
                sim_process_set_speed(n->server->process, speed);
        last(n, 3 * USEC_PER_SEC);
}

/* Soon, in any operation or in one of a kind. */
static void crash_in_operation(struct sim_nemesis *n) {
        struct sim_disk *d = n->server->disk;

        if (!n->server->process || sim_disk_will_crash(d))
                return;

        switch (random_below(&n->random, 6)) {
        case 0:
        case 1:
        case 2:
                sim_disk_crash_in(d,
                                  SIM_DISK_WRITE,
                                  random_chance(&n->random, 1, 4) ? ".log" : "/shard-1/0",
                                  random_between(&n->random, 1, 8));
                n->n_more_crashes = (unsigned) random_below(&n->random, 5);
                break;
        case 3:
                sim_disk_crash_in(d, SIM_DISK_SYNC, ".log", random_between(&n->random, 1, 8));
                break;
        case 4:
                sim_disk_crash_in(d,
                                  SIM_DISK_OPEN | SIM_DISK_RENAME | SIM_DISK_LINK |
                                          SIM_DISK_UNLINK | SIM_DISK_TRUNCATE | SIM_DISK_SYNC_DIR,
                                  SIM_SERVER_DATA_DIR,
                                  random_between(&n->random, 1, 10));
                break;
        default:
                sim_disk_crash_at(d, random_between(&n->random, 1, 50));
        }
}

static void act(struct sim_nemesis *n, enum sim_act a) {
        struct sim_server *s = n->server;
        struct sim_net_config *net = &sim_world_net(n->world)->config;

        sim_trace(sim_world_trace(n->world), "nemesis: %s", act_names[a]);
        n->n_acts[a]++;

        switch (a) {
        case SIM_ACT_KILL:
        case SIM_ACT_POWER_CUT:
                if (s->process)
                        sim_server_end(s, a == SIM_ACT_POWER_CUT, down_usec(n));
                break;
        case SIM_ACT_CRASH_IN_OPERATION:
                crash_in_operation(n);
                break;
        case SIM_ACT_STOP:
                sim_server_stop(s);
                break;
        case SIM_ACT_SYNC_FAILS:
        case SIM_ACT_WRITE_FAILS:
                s->has_disk_faults = true;
                sim_disk_fail(s->disk,
                              a == SIM_ACT_SYNC_FAILS ? SIM_DISK_SYNC : SIM_DISK_WRITE,
                              SIM_SERVER_DATA_DIR,
                              random_between(&n->random, 1, 20),
                              EIO);
                last(n, USEC_PER_SEC);
                break;
        case SIM_ACT_DISK_FULL:
                s->has_disk_faults = true;
                sim_disk_set_capacity(
                        s->disk,
                        sim_disk_used_bytes(s->disk) +
                                random_below(&n->random,
                                             random_chance(&n->random, 1, 2) ? 64 << 10 : 2 << 20));
                last(n, 3 * USEC_PER_SEC);
                break;
        case SIM_ACT_SHORT_WRITES:
                sim_disk_set_faults(
                        s->disk,
                        &(struct sim_disk_faults){ .short_write = 300000, .read_again = 300000 });
                last(n, USEC_PER_SEC);
                break;
        case SIM_ACT_SLOW_DISK:
                slow_disk(n);
                break;
        case SIM_ACT_FLIP_COPY:
                flip_copy(n);
                break;
        case SIM_ACT_FLIP_REBUILDABLE:
                flip_rebuildable(n);
                break;
        case SIM_ACT_FLIP_LOG:
                flip_log(n);
                break;
        case SIM_ACT_BREAK:
                if (s->process)
                        (void) sim_port_break(sim_process_port(s->process));
                break;
        case SIM_ACT_BAD_NETWORK:
                net->break_per_million = (unsigned) random_below(&n->random, 50000);
                net->crumbs_per_million = (unsigned) random_below(&n->random, 200000);
                net->window_bytes = random_between(&n->random, 100, 100000);
                last(n, USEC_PER_SEC);
                break;
        case SIM_ACT_KILL_CLIENT:
                kill_client(n);
                break;
        case SIM_ACT_WALL_JUMPS:
                if (s->process)
                        sim_process_shift_wall(s->process,
                                               (int64_t) random_below(&n->random, 4 * 3600 * 1000) -
                                                       2 * 3600 * 1000);
                break;
        case _SIM_ACT_MAX:
                assert(false);
        }
}

static enum sim_act choose(struct sim_nemesis *n) {
        uint64_t sum = 0, at;

        for (unsigned i = 0; i < _SIM_ACT_MAX; i++)
                sum += n->weights[i];
        at = random_below(&n->random, sum);
        for (unsigned i = 0;; i++) {
                if (at < n->weights[i])
                        return i;
                at -= n->weights[i];
        }
}

void sim_nemesis_heal(struct sim_nemesis *n) {
        struct sim_net *net = sim_world_net(n->world);

        n->heal_usec = USEC_INFINITY;
        n->server->has_disk_faults = false;
        (void) sim_disk_fail_clear(n->server->disk);
        sim_disk_set_faults(n->server->disk, &(struct sim_disk_faults){});
        sim_disk_set_capacity(n->server->disk, 0);
        n->server->speed = sim_disk_speed_default;
        if (n->server->process)
                sim_process_set_speed(n->server->process, &n->server->speed);
        net->config = sim_net_config_default;
}

/* One crash does not come alone: what the first left is what the second meets. */
static void crash_again(struct sim_nemesis *n) {
        n->n_more_crashes--;
        sim_disk_crash_in(
                n->server->disk, SIM_DISK_WRITE, "/shard-1/0", random_between(&n->random, 1, 12));
        n->next_usec = sim_world_now(n->world) +
                       random_between(&n->random, USEC_PER_MSEC, 2 * USEC_PER_SEC);
}

void sim_nemesis_settle(struct sim_nemesis *n) {
        usec_t now = sim_world_now(n->world);

        if (n->heal_usec <= now)
                sim_nemesis_heal(n);
        if (n->n_more_crashes > 0 && n->server->is_ready && !sim_disk_will_crash(n->server->disk))
                crash_again(n);
        if (n->next_usec > now)
                return;

        for (unsigned i = 0; i < n->n_readers; i++)
                if (n->readers[i].has_failed) {
                        sim_reader_kill(n->readers + i);
                        sim_reader_start(n->readers + i);
                }

        act(n, choose(n));
        if (sim_disk_will_crash(n->server->disk)) {
                /* Give it the time to come to that. */
                n->next_usec = now + random_between(&n->random, 50 * USEC_PER_MSEC, USEC_PER_SEC);
                return;
        }

        /* Trouble likes company: several in quick succession, then a rest in which things get going
         * again. */
        if (n->n_burst > 0) {
                n->n_burst--;
                n->next_usec = now + random_between(&n->random, 1, n->pause_max_usec / 4);
        } else {
                n->n_burst = random_chance(&n->random, 1, 3)
                                     ? (unsigned) random_between(&n->random, 1, 5)
                                     : 0;
                n->next_usec = now + random_between(&n->random, 1, n->pause_max_usec) +
                               (random_chance(&n->random, 1, 3)
                                        ? random_below(&n->random, 2 * USEC_PER_SEC)
                                        : 0);
        }
}

usec_t sim_nemesis_next_usec(const struct sim_nemesis *n) {
        return MIN(n->next_usec, n->heal_usec);
}
