/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A node's directory without its daemon: which topics it has, and the logs of its shards. For who
 * only reads, live or not (offline/offline-log.h); nothing is written.
 */

#include "io/io.h"
#include "log/datadir.h"
#include "offline/offline-log.h"
#include "state/state.h"

struct offline_node;

/**
 * offline_node_open() - look into a directory
 * @path: borrows until the node is freed
 *
 * Reads shard 0, for the topics' names.
 *
 * Return: 0; -ENOENT it is not there; -ENOTDIR it is not a node's; -EPROTONOSUPPORT a newer format;
 * -EACCES, … of the system. @reterr_what (mem_free) says it in words, where there is more to say.
 */
int offline_node_open(struct io *io,
                      const char *path,
                      struct offline_node **ret,
                      char **reterr_what);
struct offline_node *offline_node_free(struct offline_node *n);
DEFINE_CLEANUP(struct offline_node *, offline_node_free)

const struct datadir_info *offline_node_info(const struct offline_node *n);
/* Topics; changes with the next refresh. What is not named as committed yet counts too: a message
 * that is committed may be of such a topic. NULL: shard 0 cannot be read. */
const struct state *offline_node_topics(const struct offline_node *n);
/* How many places of shard 0 are damaged: topics may be missing, or wrong. */
unsigned offline_node_n_lost(const struct offline_node *n);
/* Looks for topics that came or went. Return: 1 there may be; 0; errors as offline_log_refresh(). */
int offline_node_refresh(struct offline_node *n);

/* Opens the log of a shard. Errors as offline_log_open(). */
int offline_node_open_log(const struct offline_node *n, uint64_t shard, struct offline_log **ret);

/**
 * offline_state_load() - the state of a shard, from its newest good checkpoint and its log
 * @limit_index: entries behind it are not applied
 * @l: is at an entry that is to be applied next, and goes on from there
 * @s: fresh, or as an earlier call left it
 * @ret_n_lost: how often entries were left out; may be NULL
 *
 * What is damaged is left out: offsets and names may be missing then.
 *
 * Return: 0; -EPROTONOSUPPORT a checkpoint of a newer format; -ENOMEM; what the disk says.
 */
int offline_state_load(struct io *io,
                       const char *dir,
                       uint64_t shard,
                       struct offline_log *l,
                       uint64_t limit_index,
                       struct state *s,
                       unsigned *ret_n_lost);
/* Only the second half of it: applies what follows. */
int offline_state_apply(struct offline_log *l,
                        uint64_t limit_index,
                        struct state *s,
                        unsigned *ret_n_lost);
