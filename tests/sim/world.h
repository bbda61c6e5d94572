/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The simulated world: virtual time, and processes that share it. Each process has a struct io of
 * its own: a disk, an end of the network, jobs, timers, chance. Nothing happens by itself:
 * sim_world_run_until() takes one event after the other, by time, and calls its callback; time
 * jumps from event to event.
 *
 * Everything follows from the seed. What happens at one moment comes by process, in the order in
 * which they were made: first streams, then jobs, then timers (a deadline waits for what is at
 * hand).
 *
 * Jobs. A job of a log queue starts when the one before it has ended; background work is one at a
 * time; reads are all at once. Each takes a seeded time, and its run() happens at once at some
 * moment between its start and its end, often one of the two: an effect long before its completion,
 * or a completion right behind it. A crash inside a run() is the disk's (sim_disk_crash_at()):
 * done() is not called then, and the process has crashed.
 *
 * The end of a process:
 *
 *     sim_process_kill(p, …);       its io is dead: no callback any more, every call -ECANCELED,
 *     closing is allowed
 *     b = broker_free(b);           its memory goes
 *     p = sim_process_free(p);
 */

#include "base/macro.h"
#include "base/random.h"
#include "base/time.h"
#include "io/io.h"
#include "tests/sim/disk.h"
#include "tests/sim/net.h"
#include "tests/sim/trace.h"

struct sim_world;
struct sim_process;

/* Durations of jobs, in microseconds. A log write or read takes its hint's bytes at bytes_per_usec
 * beside. */
struct sim_disk_speed {
        usec_t log_min, log_max;
        usec_t read_min, read_max;
        usec_t background_min, background_max;
        uint64_t bytes_per_usec;
};

/* Returns new world at time 0 (wall clock: 2026-01-01). Return: 0. */
int sim_world_new(uint64_t seed, struct sim_trace *trace, struct sim_world **ret);
/* All processes are freed before. NULL is fine. */
struct sim_world *sim_world_free(struct sim_world *w);
DEFINE_CLEANUP(struct sim_world *, sim_world_free)

usec_t sim_world_now(const struct sim_world *w);
/* Chance for who builds on the world: nemesis, clients. */
struct random *sim_world_random(struct sim_world *w);
struct sim_net *sim_world_net(struct sim_world *w);
struct sim_trace *sim_world_trace(struct sim_world *w);
/* Takes the next event that is due at @until or earlier. Return: whether there was one; else it is
 * @until now. */
bool sim_world_step(struct sim_world *w, usec_t until);
void sim_world_run_until(struct sim_world *w, usec_t until);

/**
 * sim_process_new() - start a process
 * @name: in the trace; borrows
 * @disk: its files; borrows until sim_process_free(). NULL where it uses none
 * @on_crash: called from the world when the disk has crashed under it (sim_disk_crash_at()); what
 *            follows is sim_process_kill(). May be NULL
 */
int sim_process_new(struct sim_world *w,
                    const char *name,
                    struct sim_disk *disk,
                    void (*on_crash)(void *userdata),
                    void *userdata,
                    struct sim_process **ret);
/* What belongs to its owner has been closed and cancelled before; kills where it is alive. NULL is
 * fine. */
struct sim_process *sim_process_free(struct sim_process *p);
DEFINE_CLEANUP(struct sim_process *, sim_process_free)

struct io *sim_process_io(struct sim_process *p);
struct sim_port *sim_process_port(struct sim_process *p);
void sim_process_set_speed(struct sim_process *p, const struct sim_disk_speed *speed);
extern const struct sim_disk_speed sim_disk_speed_default;
/* Jumps its wall clock by so much against the world's. */
void sim_process_shift_wall(struct sim_process *p, int64_t ms);
/* @is_silent: those it was connected to learn of it only after a while, as when a machine loses
 *         power. What becomes of
 * the disk is the caller's. */
void sim_process_kill(struct sim_process *p, bool is_silent);
