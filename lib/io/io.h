/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * struct io: all that raft, log, client and the broker's core can see of the world. Files, time,
 * random numbers, jobs and byte streams; nothing else. Three implementations are held to one
 * contract by tests/unit/test-io.c:
 *
 *     loop/io-loop.h     the daemon and the client library: sd-event, threads, sockets
 *     io/io-posix.h      blocking, for tools and tests that only want files; no streams
 *     tests/sim/world.h  the simulator: a seeded network, disk and clock
 *
 * The contract
 *  C1  Callbacks (timers, job completions, streams) are called from the loop, never from inside a
 *      call into io.
 *  C2  Callbacks of one moment come in an order that does not depend on addresses or hashes.
 *  C3  File calls block. On the loop they are legal during start and stop only (and io_pread() with
 *      IO_READ_NOWAIT always); otherwise they belong into a job.
 *  C4  What io_fdatasync() returned 0 for survives a power cut; a name made by create, link, rename
 *      or unlink does so after io_sync_dir() of its folder. Nothing else is promised. After a
 *      failed sync nothing at all is known of the file, and a second sync proves nothing: the
 *      caller stops.
 *  C5  Without a sync a 512-byte sector is on disk as it was, or as it was written, never mixed.
 *  C6  Paths are absolute, or relative to where the implementation was made. Lists of names are
 *      sorted by byte.
 */

#include <sys/uio.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/macro.h"
#include "base/time.h"

struct io;
struct io_job;
struct io_stream;
struct io_timer;
struct address;

#define IO_SECTOR_BYTES 512u

/* An open file; implementations embed it. The count belongs to the loop; a job borrows from who
 * submitted it. */
struct io_file {
        struct io *io;
        unsigned n_refs;
};

enum io_open_flags {
        IO_OPEN_READ = 1 << 0,
        IO_OPEN_WRITE = 1 << 1,
        IO_OPEN_CREATE = 1 << 2, /* must not exist: -EEXIST */
        IO_OPEN_DIRECT = 1 << 3, /* reads come from the disk itself, not from the page cache */
};

enum io_read_flags {
        IO_READ_NOWAIT = 1 << 0, /* -EAGAIN instead of waiting for the disk */
};

enum io_lane {
        IO_LANE_LOG,        /* one thread a queue; jobs of a queue run in order, one at a time */
        IO_LANE_READ,       /* a pool: reads that are not in the page cache */
        IO_LANE_BACKGROUND, /* zeroing ahead, checkpoints: may wait long */
        _IO_LANE_MAX,
};

struct io_stat {
        uint64_t size_bytes;
        uint64_t n_links;
        bool is_dir;
};

/*
 * A job: run() does blocking work, elsewhere, with nothing but the job's own data and the files it
 * borrows; done() is called on the loop with what run() returned. Embedded in its owner's struct,
 * which stays until done() or io_cancel(). run() may log nothing and touch no other object.
 */
struct io_job {
        int (*run)(struct io_job *job);
        void (*done)(struct io_job *job, int r);
        uint64_t queue; /* IO_LANE_LOG: which queue (the shard's number) */
        /* a hint: how much it writes or reads; small log writes may be done on the loop */
        size_t n_bytes;
        /* The implementation's from io_submit() to done(). */
        struct list link;
        struct io *io;
        enum io_lane lane;
        int result;
        unsigned state;
        struct heap_node node;
};

/* Fires once, at or after its deadline. Zero-initialised plus on_timer and userdata is an idle
 * timer. */
struct io_timer {
        void (*on_timer)(struct io_timer *t, void *userdata);
        void *userdata;
        struct heap_node node;
};

enum io_stream_events {
        IO_STREAM_READABLE = 1 << 0, /* bytes, the end, or an error: io_stream_read() tells */
        IO_STREAM_WRITABLE = 1 << 1, /* room; on a new connection: it stands */
};

/* Called when one of the events that were asked for is there; again as long as it is
 * (level-triggered). */
typedef void (*io_stream_handler_t)(struct io_stream *s, unsigned events, void *userdata);

/* An ordered stream of bytes that arrives in any pieces and breaks at any byte; implementations
 * embed it. */
struct io_stream {
        struct io *io;
        io_stream_handler_t handler;
        void *userdata;
        bool is_local; /* a Unix socket; uid is the peer's then */
        uint32_t uid;
};

struct io_ops {
        usec_t (*now)(struct io *io);
        int64_t (*wall_ms)(struct io *io);
        void (*random)(struct io *io, void *p, size_t n);

        int (*open)(struct io *io, const char *path, unsigned flags, struct io_file **ret);
        void (*close)(struct io_file *f);
        ssize_t (*pread)(struct io_file *f, void *p, size_t n, uint64_t pos, unsigned flags);
        ssize_t (*pwrite)(struct io_file *f, const void *p, size_t n, uint64_t pos);
        int (*fdatasync)(struct io_file *f);
        int (*truncate)(struct io_file *f, uint64_t size);
        int (*size)(struct io_file *f, uint64_t *ret);
        int (*lock)(struct io_file *f);
        int (*stat)(struct io *io, const char *path, struct io_stat *ret);
        int (*rename)(struct io *io, const char *from, const char *to);
        int (*link)(struct io *io, const char *from, const char *to);
        int (*unlink)(struct io *io, const char *path);
        int (*mkdir)(struct io *io, const char *path);
        int (*rmdir)(struct io *io, const char *path);
        int (*list)(struct io *io, const char *path, char ***ret_names, size_t *ret_n);
        int (*sync_dir)(struct io *io, const char *path);
        int (*space)(struct io *io, const char *path, uint64_t *ret_free, uint64_t *ret_total);

        void (*submit)(struct io *io, enum io_lane lane, struct io_job *job);
        void (*cancel)(struct io *io, struct io_job *job);
        int (*timer_set)(struct io *io, struct io_timer *t, usec_t deadline_usec);
        void (*timer_cancel)(struct io *io, struct io_timer *t);

        int (*connect)(struct io *io,
                       const struct address *a,
                       io_stream_handler_t handler,
                       void *userdata,
                       struct io_stream **ret);
        ssize_t (*read)(struct io_stream *s, void *p, size_t n);
        ssize_t (*writev)(struct io_stream *s, const struct iovec *iov, size_t n_iov);
        void (*want)(struct io_stream *s, unsigned events);
        void (*finish)(struct io_stream *s);
        void (*close_stream)(struct io_stream *s);
};

struct io {
        const struct io_ops *ops;
};

/* Time and chance. */
usec_t io_now(struct io *io);      /* monotonic */
int64_t io_wall_ms(struct io *io); /* wall clock, milliseconds since 1970; may jump */
void io_random(struct io *io, void *p, size_t n);
uint64_t io_random_u64(struct io *io);

/* Files. Negative errno as the system calls give them; -EIO, -ENOSPC, -EMFILE, -ENOENT mean what
 * they say. */
int io_open(struct io *io, const char *path, unsigned flags, struct io_file **ret);
struct io_file *io_file_ref(struct io_file *f);
struct io_file *io_file_unref(struct io_file *f);
DEFINE_CLEANUP(struct io_file *, io_file_unref)
/* Up to @n bytes, fewer only at the end of the file. Return: bytes read; -EAGAIN with
 * IO_READ_NOWAIT only. */
ssize_t io_pread(struct io_file *f, void *p, size_t n, uint64_t pos, unsigned flags);
/* All of @n bytes, short writes continued. Return: 0; after an error any part may be written. */
int io_pwrite(struct io_file *f, const void *p, size_t n, uint64_t pos);
/* Data and the size of the file. */
int io_fdatasync(struct io_file *f);
int io_truncate(struct io_file *f, uint64_t size);
int io_file_size(struct io_file *f, uint64_t *ret);
/* Takes an exclusive lock that ends with the file. Return: 0; -EBUSY somebody holds it. */
int io_lock(struct io_file *f);
/* By path. io_stat() of what is not there: -ENOENT. */
int io_stat(struct io *io, const char *path, struct io_stat *ret);
int io_rename(struct io *io, const char *from, const char *to);
int io_link(struct io *io, const char *from, const char *to);
int io_unlink(struct io *io, const char *path);
int io_mkdir(struct io *io, const char *path);
int io_rmdir(struct io *io, const char *path);
/* Returns new array of new strings, sorted, without . and ..; io_names_free() frees. */
int io_list(struct io *io, const char *path, char ***ret_names, size_t *ret_n);
char **io_names_free(char **names, size_t n);
int io_sync_dir(struct io *io, const char *path);
/* Bytes of the file system that holds @path: free to us, and in all. */
int io_space(struct io *io, const char *path, uint64_t *ret_free, uint64_t *ret_total);

/* Jobs. io_cancel(): the job is the caller's again and done() will not be called; where it is
 * running this waits for its end. Nothing where the job is not submitted. */
void io_submit(struct io *io, enum io_lane lane, struct io_job *job);
void io_cancel(struct io *io, struct io_job *job);
bool io_job_is_pending(const struct io_job *job);

/* A deadline that has passed (0, say) fires once the events that are at hand have been handled.
 * Setting again moves it. Return: 0; -ENOMEM. */
int io_timer_set(struct io *io, struct io_timer *t, usec_t deadline_usec);
void io_timer_cancel(struct io *io, struct io_timer *t);

/**
 * io_connect() - begin a connection
 * @a: where; borrows until return. Host names are resolved, and each address tried, in the
 *         background
 *
 * Nothing is asked for at first: io_stream_want(). A connection that fails becomes readable, and
 * io_stream_read() says why.
 */
int io_connect(struct io *io,
               const struct address *a,
               io_stream_handler_t handler,
               void *userdata,
               struct io_stream **ret);
/* Return: bytes; 0 the peer ended; -EAGAIN nothing now; another error: the stream is broken for
 * good. */
ssize_t io_stream_read(struct io_stream *s, void *p, size_t n);
/* Return: bytes taken (may be fewer than given); -EAGAIN no room now; another error as above. */
ssize_t io_stream_writev(struct io_stream *s, const struct iovec *iov, size_t n_iov);
/* Which events the handler is called for from now on. */
void io_stream_want(struct io_stream *s, unsigned events);
/* No more is written from here: the peer reads its end behind what was. Reading goes on. */
void io_stream_finish(struct io_stream *s);
/* Ends and frees; no call of the handler follows. Takes NULL, returns NULL. What the peer has not
 * read may be lost to it. */
struct io_stream *io_stream_close(struct io_stream *s);

/* For implementations: a completion hands the job back (it may be submitted again from done()). */
void io_job_complete(struct io_job *job);
