/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A node's directory: its lock, its identity (node id, cluster id, incarnation; two checksummed
 * copies), the list of its shards, and creations that did not finish. Start-up only: everything
 * here blocks.
 *
 * A directory or shard is made whole under incoming/, synced, renamed in, the folder synced, and
 * only then listed in `node`. Listed and missing stops the node (-EBADMSG); unlisted is an
 * unfinished creation and is removed.
 */

#include "base/macro.h"
#include "base/trace.h"
#include "io/io.h"

struct datadir;

/* As many as can be listed. */
#define DATADIR_SHARDS_MAX 504u

struct node_identity {
        uint64_t node_id;
        uint8_t cluster_id[16];
        uint8_t incarnation[16];
};

/**
 * datadir_open() - lock, check or make a node's directory
 * @path: made where it is missing or empty; borrows
 * @node_id: who we are; 0: whoever the directory says (1 for a new one)
 * @tracer: may be NULL
 *
 * Return: 0; -EBUSY another process holds it; -EBADMSG damaged or incomplete: nothing is deleted;
 * -EPROTONOSUPPORT of a newer format; -EXDEV it is another node's; -ENOTEMPTY it holds foreign
 * files and is not a node's; -EACCES, -EROFS, -ENOSPC, … of the system. @reterr_what (mem_free)
 * names file and reason in words, where there is more to say.
 */
int datadir_open(struct io *io,
                 const char *path,
                 uint64_t node_id,
                 const struct tracer *tracer,
                 struct datadir **ret,
                 char **reterr_what);
struct datadir *datadir_free(struct datadir *d);
DEFINE_CLEANUP(struct datadir *, datadir_free)

struct datadir_info {
        struct node_identity identity;
        size_t n_shards;
        uint64_t shards[DATADIR_SHARDS_MAX]; /* ascending */
        int copies[2];   /* of `node`: 0 good; -EBADMSG damaged; -EPROTONOSUPPORT a newer format */
        bool is_guessed; /* both are bad, or there is none: the shards are the folders that are
                            there, the identity is zeroes */
};

/**
 * datadir_read() - who a directory belongs to, without its lock
 *
 * For who only reads; a daemon may be at work. Nothing is written.
 *
 * Return: 0; -ENOENT it is not there; -ENOTDIR it is not a node's directory; -EPROTONOSUPPORT a
 * newer format; -EACCES, -ENOMEM, … of the system.
 */
int datadir_read(struct io *io, const char *path, struct datadir_info *ret);
/* "PATH/shard-N"; returns new string. */
char *datadir_path_of_shard(const char *path, uint64_t shard);

const struct node_identity *datadir_identity(const struct datadir *d);
const char *datadir_path(const struct datadir *d);
/* Borrows; ascending. */
const uint64_t *datadir_shards(const struct datadir *d, size_t *ret_n);
bool datadir_has_shard(const struct datadir *d, uint64_t shard);
/* Makes and lists a new shard. Return: 0; -EEXIST; -EMFILE as many are listed as can be; -EIO,
 * -ENOSPC, …: it is not listed, and may be tried again. */
int datadir_create_shard(struct datadir *d, uint64_t shard);
/**
 * datadir_make_node() - write `node` for a directory whose shards are there already
 * @path: an existing folder without `node`
 * @shards: ascending
 * @ret: the new identity, may be NULL: cluster id and incarnation are random
 *
 * For what is restored: the last step that makes a node's directory of it. Synced when it returns,
 * the folder too.
 *
 * Return: 0; -EEXIST there is a `node`; -E2BIG more shards than can be listed; -EIO, -ENOSPC, …
 */
int datadir_make_node(struct io *io,
                      const char *path,
                      uint64_t node_id,
                      const uint64_t *shards,
                      size_t n_shards,
                      struct node_identity *ret);
/* "PATH/shard-N"; returns new string. */
char *datadir_shard_path(const struct datadir *d, uint64_t shard);
