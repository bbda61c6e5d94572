/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A disk in memory behind the file operations of struct io (io/io.h), which forgets at a power cut
 * what was not synced. What it may do to whom is written at the top of disk.c.
 *
 * Alone, for unit tests: sim_disk_io() is a whole struct io but for streams; time stands still
 * until the test moves it, and jobs run when the test says so. In the simulator, world.c gives each
 * process an io of its own on a disk.
 *
 * A crash in three steps:
 *
 *     sim_disk_power_cut(d);        or sim_disk_kill(d): from now on whatever the old owner does
 *     has no effect
 *     l = shard_log_free(l);        all its calls give -ECANCELED
 *     sim_disk_restart(d);          the disk is there again, for a new owner
 *
 * Crash at every step of an operation: sim_disk_crash_at(d, 1), 2, 3, … until
 * sim_disk_has_crashed() says no.
 *
 * Every function here works by the disk's seed alone: the same calls give the same disk. Memory is
 * the simulator's own (not base/alloc.h): a FAULT_SWEEP hits the code under test, never the disk
 * below it.
 */

#include "base/macro.h"
#include "base/random.h"
#include "base/time.h"
#include "io/io.h"
#include "tests/sim/trace.h"

struct sim_disk;

/* A struct io on a disk; its first member is what code under test sees. world.c embeds one in each
 * process. */
struct sim_io {
        struct io io;
        struct sim_disk *disk;
        bool is_dead; /* every call gives -ECANCELED */
};

/* The file operations, to be copied into the table of an io that is a struct sim_io; the rest is
 * NULL. */
extern const struct io_ops sim_disk_file_ops;

/* Returns new disk, empty. Return: 0. */
int sim_disk_new(uint64_t seed, struct sim_disk **ret);
/* Returns new disk with the same files, durable and not; nothing open, no faults, and a seed of its
 * own: so that many power cuts can be tried from one state. */
int sim_disk_clone(const struct sim_disk *d, uint64_t seed, struct sim_disk **ret);
/* All io that uses it must be through with it. NULL is fine. */
struct sim_disk *sim_disk_free(struct sim_disk *d);
DEFINE_CLEANUP(struct sim_disk *, sim_disk_free)

/* Says each operation in @t (may be NULL) as "NAME: …"; borrows both. */
void sim_disk_set_trace(struct sim_disk *d, struct sim_trace *t, const char *name);

/* ---- Alone: the io, its clock, its jobs ---- */

/* Borrows: lives as long as the disk. */
struct io *sim_disk_io(struct sim_disk *d);
/* Runs the oldest job and its done(). Return: whether there was one (none once the disk has
 * crashed). */
bool sim_disk_run_job(struct sim_disk *d);
/* Until none is left, also of those that completions submit. Return: how many ran. */
unsigned sim_disk_run_jobs(struct sim_disk *d);
/* Moves monotonic and wall clock on and fires the timers that are due, each at its time. Jobs do
 * not run. */
void sim_disk_advance(struct sim_disk *d, usec_t usec);
/* Jumps the wall clock alone. */
void sim_disk_set_wall_ms(struct sim_disk *d, int64_t wall_ms);

/* ---- Crashes ---- */

enum sim_disk_op {
        SIM_DISK_OPEN = 1 << 0, /* create too */
        SIM_DISK_READ = 1 << 1,
        SIM_DISK_WRITE = 1 << 2,
        SIM_DISK_SYNC = 1 << 3,
        SIM_DISK_TRUNCATE = 1 << 4,
        SIM_DISK_RENAME = 1 << 5,
        SIM_DISK_LINK = 1 << 6,
        SIM_DISK_UNLINK = 1 << 7,
        SIM_DISK_MKDIR = 1 << 8,
        SIM_DISK_SYNC_DIR = 1 << 9,
        SIM_DISK_LIST = 1 << 10,
};

/* The process dies: locks and open files end, the page cache stays (what is unsynced is readable,
 * and unsynced). */
void sim_disk_kill(struct sim_disk *d);
/* The machine dies: of what is unsynced each sector, size and name is there or not. */
void sim_disk_power_cut(struct sim_disk *d);
/* After one of these: operations work again. Cancels crash_at; faults stay. */
void sim_disk_restart(struct sim_disk *d);
/* The @n-th changing operation from now on (1 is the next; 0: none) is carried out in part, wholly
 * or not at all, and from then on every operation gives -ECANCELED, as after sim_disk_kill(). What
 * has become of unsynced data is decided by the sim_disk_kill() or sim_disk_power_cut() that must
 * follow. */
void sim_disk_crash_at(struct sim_disk *d, uint64_t n);
/* The same of the @n-th that is one of @ops (enum sim_disk_op) and whose path holds @path_part. */
void sim_disk_crash_in(struct sim_disk *d, unsigned ops, const char *path_part, uint64_t n);
/* Ordered, and not yet come to. */
bool sim_disk_will_crash(const struct sim_disk *d);
bool sim_disk_has_crashed(const struct sim_disk *d);
/* Changing operations so far: create, write, sync, truncate, rename, link, unlink, mkdir, rmdir,
 * sync of a folder. */
uint64_t sim_disk_n_ops(const struct sim_disk *d);
/* Successful io_fdatasync() calls so far. */
uint64_t sim_disk_n_syncs(const struct sim_disk *d);

/* ---- Faults ---- */

/* The @n-th operation from now on (1 is the next) that is one of @ops and whose path holds
 * @path_part (NULL: any) gives -@error. Once; several may be waiting. A failed write may have
 * written any part; a failed sync has put any part of what was unsynced on disk, and forgets the
 * rest, which stays readable in the page cache. */
void sim_disk_fail(struct sim_disk *d, unsigned ops, const char *path_part, uint64_t n, int error);
/* Forgets what is waiting. Return: how many had not fired. */
unsigned sim_disk_fail_clear(struct sim_disk *d);

/* What happens by itself, each in so many of a million calls. All zero at first. */
struct sim_disk_faults {
        unsigned read_eio;
        unsigned write_eio;
        unsigned sync_eio;
        unsigned
                short_write; /* fewer bytes than asked for are written, up to a sector's boundary */
        unsigned read_again; /* IO_READ_NOWAIT gives -EAGAIN */
};
void sim_disk_set_faults(struct sim_disk *d, const struct sim_disk_faults *f);

/* Bytes that files may take, by whole pages of their sizes; 0: without limit (what is reported then
 * is 1 TiB). */
void sim_disk_set_capacity(struct sim_disk *d, uint64_t capacity_bytes);
uint64_t sim_disk_used_bytes(const struct sim_disk *d);

/* Flips bit 0..7 of the byte at @pos, on the disk and in the page cache. Return: 0; -ENOENT;
 * -EINVAL past the end. */
int sim_disk_flip_bit(struct sim_disk *d, const char *path, uint64_t pos, unsigned bit);
/* Reads that touch this range of the file, from the disk itself, give -EIO; @n 0: no more. Return:
 * 0; -ENOENT. */
int sim_disk_break_range(struct sim_disk *d, const char *path, uint64_t pos, uint64_t n);

/* ---- For checkers: past all faults, counting nothing, also of a disk that has crashed ---- */

/* What the disk itself would give now (unsynced writes included, the page cache's lies not).
 * Return: bytes, fewer at the end; -ENOENT. */
ssize_t sim_disk_peek(struct sim_disk *d, const char *path, void *p, size_t n, uint64_t pos);
/* The same of what is synced only: what a power cut leaves at the least. */
ssize_t
sim_disk_peek_durable(struct sim_disk *d, const char *path, void *p, size_t n, uint64_t pos);
int sim_disk_peek_size(struct sim_disk *d, const char *path, uint64_t *ret);
/* As io_list(). */
int sim_disk_peek_list(struct sim_disk *d, const char *path, char ***ret_names, size_t *ret_n);
