/* SPDX-License-Identifier: Apache-2.0 */

/* A broker and its machine; checkers start, running and damage. */

#include "tests/sim/server.h"

#include <inttypes.h>

#include "base/alloc.h"
#include "base/logging.h"

/* How long a broker that ended by itself is down: as a service manager would wait. */
#define RESTART_USEC (100 * USEC_PER_MSEC)
/* With faults about, a start may fail again and again; not without. */
#define STARTS_FAILED_MAX 200u

static void on_log(void *userdata, const struct log_record *record) {
        struct sim_server *s = userdata;

        sim_trace(sim_world_trace(s->world), "broker says <%d>: %s", record->level, record->text);
}

/* What was reported before it was synced may be lost where it was younger than the interval, a write
 * and a sync, when the process ended. */
static void note_power_lost(struct sim_server *s) {
        const usec_t young_usec = usec_add(s->config.sync_usec, 4 * s->slow_usec);

        s->has_lost_end = s->lost_power && s->config.sync_usec > 0;
        s->kept_usec = s->had_stopped ? USEC_INFINITY : usec_sub(s->ended_usec, young_usec);
        s->ended_usec = USEC_INFINITY;
        s->lost_power = s->had_stopped = false;
        s->slow_usec = s->speed.log_max;
}

static void on_ready(void *userdata) {
        struct sim_server *s = userdata;
        struct broker_summary summary;

        sim_trace(sim_world_trace(s->world), "broker is ready");
        s->is_ready = true;
        note_power_lost(s);
        s->n_starts_failed = 0;
        broker_summary(s->broker, &summary);
        if (!summary.is_writable && !s->may_find_damage)
                sim_violation(
                        s->verdict,
                        "damage",
                        "nothing was damaged, and the broker takes no messages after a start");
        sim_disk_check_on_ready(s->check, /* must_rise= */ !s->may_find_damage);
        if (!s->may_find_damage)
                sim_retention_on_ready(s->retention, s->broker, s->has_lost_end);
}

static void on_stopped(void *userdata) {
        struct sim_server *s = userdata;

        sim_trace(sim_world_trace(s->world), "broker has stopped");
        s->is_stopped = true;
}

static void on_fatal(void *userdata, int error, const char *what) {
        struct sim_server *s = userdata;

        sim_trace(sim_world_trace(s->world), "broker fails: %d, %s", error, what);
        s->fatal = error;
        if (!s->had_disk_faults && !sim_disk_has_crashed(s->disk) &&
            !(s->may_find_damage && error == -EBADMSG))
                sim_violation(s->verdict,
                              "running",
                              "the broker stops, and its disk has no fault: %s (%d)",
                              what ?: "it does not say why",
                              error);
}

/* The same in every run. */
static void on_usage(void *userdata, struct broker_usage *ret) {
        (void) userdata;
        *ret = (struct broker_usage){
                .resident_bytes = UINT64_C(64) << 20,
                .cpu_usec = USEC_PER_SEC,
                .n_files = 16,
                .n_files_max = 1024,
        };
}

static const struct broker_events events = {
        .on_ready = on_ready,
        .on_stopped = on_stopped,
        .on_fatal = on_fatal,
        .on_usage = on_usage,
};

static void on_crash(void *userdata) {
        struct sim_server *s = userdata;

        s->has_crashed = true;
}

static void on_accept(void *userdata, struct io_stream *stream) {
        struct sim_server *s = userdata;

        (void) broker_accept(s->broker, stream); /* what it cannot take it has closed */
}

void sim_server_init(struct sim_server *s,
                     struct sim_world *w,
                     struct sim_verdict *v,
                     uint64_t seed) {
        *s = (struct sim_server){
                .world = w,
                .verdict = v,
                .tracer = { .emit = on_log, .userdata = s },
                .speed = sim_disk_speed_default,
                .restart_usec = 0,
        };
        (void) sim_disk_new(seed, &s->disk);
        sim_disk_set_trace(s->disk, sim_world_trace(w), "disk");
        (void) sim_disk_check_new(v, s->disk, SIM_SERVER_DATA_DIR, &s->check);
        (void) sim_retention_new(v, &s->retention);

        broker_config_init(&s->config);
        s->ended_usec = USEC_INFINITY;
        s->config.data_dir = SIM_SERVER_DATA_DIR;
        s->config.node_name = "node1";
        s->config.node_id = 1;
        s->config.advertise = SIM_SERVER_ADDRESS;
        s->config.version = "0";
        s->config.pid = 1;
        s->config.tracer = &s->tracer;
}

/* The process is gone, in whatever way. */
static void end_process(struct sim_server *s, bool is_silent) {
        if (s->process) {
                s->ended_usec = MIN(s->ended_usec, sim_world_now(s->world));
                s->had_stopped = s->had_stopped || s->is_stopped;
                /* a sync that failed has lost what it did not write */
                s->lost_power = s->lost_power || s->fatal == -EIO;
                sim_process_kill(s->process, is_silent);
        }
        s->broker = broker_free(s->broker);
        s->process = sim_process_free(s->process);
        s->is_ready = false;
        s->is_stopped = false;
        s->has_crashed = false;
        s->fatal = 0;
}

void sim_server_done(struct sim_server *s) {
        end_process(s, /* is_silent= */ false);
        s->check = sim_disk_check_free(s->check);
        s->retention = sim_retention_free(s->retention);
        s->disk = sim_disk_free(s->disk);
}

void sim_server_end(struct sim_server *s, bool power_cut, usec_t down_usec) {
        end_process(s, /* is_silent= */ power_cut);
        if (power_cut)
                sim_disk_power_cut(s->disk);
        else
                sim_disk_kill(s->disk);
        s->lost_power = s->lost_power || power_cut;
        if (power_cut && s->config.sync_usec > 0)
                down_usec = MAX(down_usec, RESTART_USEC); /* no answer is still on its way then */
        s->restart_usec = sim_world_now(s->world) + down_usec;
}

/* A start did not come to its end. */
static void on_start_failed(struct sim_server *s, int error, const char *what) {
        bool is_damage = s->may_find_damage && error == -EBADMSG;
        bool is_fault = s->has_disk_faults && (error == -EIO || error == -ENOSPC);

        sim_trace(sim_world_trace(s->world), "broker does not start: %d, %s", error, what ?: "");
        s->lost_power = s->lost_power || error == -EIO; /* as in end_process() */
        if (is_damage) {
                sim_server_end(s, /* power_cut= */ false, RESTART_USEC);
                s->restart_usec = USEC_INFINITY;
                s->is_wrecked = true;
                return;
        }
        if (!is_fault || ++s->n_starts_failed > STARTS_FAILED_MAX)
                sim_violation(s->verdict,
                              "start",
                              "the broker does not start on what a crash left: %s (%d)",
                              what ?: "it does not say why",
                              error);
        sim_server_end(s, /* power_cut= */ false, RESTART_USEC);
}

void sim_server_start(struct sim_server *s) {
        _cleanup_(mem_freep) char *what = NULL;
        int r;

        assert(!s->process);

        s->restart_usec = USEC_INFINITY;
        s->had_disk_faults = s->has_disk_faults;
        sim_disk_restart(s->disk);
        (void) sim_process_new(s->world, "broker", s->disk, on_crash, s, &s->process);
        sim_process_set_speed(s->process, &s->speed);
        sim_disk_check_before_start(s->check);

        s->config.started_usec = sim_world_now(s->world);
        r = broker_new(sim_process_io(s->process), &s->config, &events, s, &s->broker, &what);
        if (sim_disk_has_crashed(s->disk))
                return; /* the world notices */
        if (r < 0) {
                on_start_failed(s, r, what);
                return;
        }

        sim_disk_check_after_start(s->check);
        sim_port_listen(sim_process_port(s->process), SIM_SERVER_ADDRESS, on_accept, s);
        broker_start(s->broker);
}

void sim_server_stop(struct sim_server *s) {
        if (!s->broker || !s->is_ready)
                return;

        sim_trace(sim_world_trace(s->world), "broker is told to stop");
        sim_port_unlisten(sim_process_port(s->process));
        broker_stop(s->broker);
}

void sim_server_settle(struct sim_server *s) {
        struct random *random = sim_world_random(s->world);

        if (s->has_disk_faults)
                s->had_disk_faults = true;
        s->slow_usec = MAX(s->slow_usec, s->speed.log_max);

        if (s->process && (s->has_crashed || sim_disk_has_crashed(s->disk)))
                sim_server_end(s,
                               /* power_cut= */ random_chance(random, 2, 3),
                               random_between(random, 1, 2 * RESTART_USEC));
        else if (s->process && (s->fatal < 0 || s->is_stopped))
                sim_server_end(s, /* power_cut= */ random_chance(random, 1, 4), RESTART_USEC);
        else if (!s->process && s->restart_usec <= sim_world_now(s->world))
                sim_server_start(s);
}

usec_t sim_server_next_usec(const struct sim_server *s) {
        return s->process ? USEC_INFINITY : s->restart_usec;
}
