/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Checker snapshot. What was told to be made is there until it is deleted, whatever happens meanwhile;
 * and each that is there is whole: all files as long as they were, all entries, dense, from where its
 * checkpoint or the first entry leaves off, and nothing missing at its beginning but what it knows to
 * be gone.
 */

#include "tests/sim/check.h"
#include "tests/sim/disk.h"

struct sim_snapshots;

int sim_snapshots_new(struct sim_verdict *verdict, struct sim_snapshots **ret);
struct sim_snapshots *sim_snapshots_free(struct sim_snapshots *c);
DEFINE_CLEANUP(struct sim_snapshots *, sim_snapshots_free)

void sim_snapshot_name(char dest[static 32], unsigned number);
/* Return: the number of a new one, about to be asked for. */
unsigned sim_snapshots_begin(struct sim_snapshots *c);
/* Return: one that is there; UINT_MAX: none. */
unsigned sim_snapshots_pick(const struct sim_snapshots *c);
/* It was made, is gone, or nobody knows. */
void sim_snapshots_on_present(struct sim_snapshots *c, unsigned number);
void sim_snapshots_on_absent(struct sim_snapshots *c, unsigned number);
void sim_snapshots_on_unknown(struct sim_snapshots *c, unsigned number);
/* While the broker is ready, and nothing goes wrong. */
void sim_snapshots_judge(struct sim_snapshots *c, struct sim_disk *disk, const char *data_dir);
