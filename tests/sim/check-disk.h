/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a broker's disk says before a start must hold after it. Reads the bytes by itself
 * (log/format.h), with none of lib/log's code: that is what is on trial.
 */

#include "tests/sim/check.h"
#include "tests/sim/disk.h"

struct sim_disk_check;

/* @data_dir: borrows. */
int sim_disk_check_new(struct sim_verdict *verdict,
                       struct sim_disk *disk,
                       const char *data_dir,
                       struct sim_disk_check **ret);
struct sim_disk_check *sim_disk_check_free(struct sim_disk_check *c);
DEFINE_CLEANUP(struct sim_disk_check *, sim_disk_check_free)

/* The broker is down and about to start: notes the group headers that are named durable. */
void sim_disk_check_before_start(struct sim_disk_check *c);
/* It has recovered: they are all still there. */
void sim_disk_check_after_start(struct sim_disk_check *c);
/* It has answered for its hard state: from now on terms and sequences do not go below it.
 * @must_rise: a group of one elects itself at each start, so none may be there that was there at
 *         the start before. */
void sim_disk_check_on_ready(struct sim_disk_check *c, bool must_rise);
/* Of a file of two copies of 4096 bytes ("node", "hardstate"): how many are good, on the disk. */
unsigned sim_disk_check_copies(struct sim_disk *disk, const char *path);
/* A place in a settled group write's header, or anywhere in one (@anywhere), of the shard in that
 * folder ("/shard-1/"), for a bit to be flipped. Return: whether there is one. @ret_path: free()
 * it. */
bool sim_disk_check_pick(struct sim_disk_check *c,
                         struct random *random,
                         const char *shard,
                         bool anywhere,
                         char **ret_path,
                         uint64_t *ret_pos);
