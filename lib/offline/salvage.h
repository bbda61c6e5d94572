/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Makes a new directory of what is good in another one, however damaged that is; the other one is
 * not written to.
 *
 * Kept: topics and their partitions (named lost.ID where the name is gone), every good batch at its
 * offset, what groups have committed, what is known of producers. Offsets that are lost stay lost:
 * an empty batch stands for them, so that a reader goes on over it. Indices are new, dense from 1;
 * the node keeps its id and is a new cluster, for it is not what the old one was.
 *
 * It is made under another name beside its place, and renamed when all of it is synced: what has
 * the final name is whole.
 */

#include "io/io.h"

struct salvage_sums {
        uint64_t n_topics;
        uint64_t n_batches;
        uint64_t n_messages;
        uint64_t n_bytes;        /* of batches */
        uint64_t n_lost_entries; /* that are known to have been there */
        uint64_t n_lost_batches; /* damaged ones in entries that are good */
        uint64_t n_lost_offsets; /* of partitions where good ones follow */
        uint64_t n_lost_places;  /* damage of any kind that may have cost something */
        uint64_t n_nameless;     /* partitions whose topic is not known */
};

struct salvage_events {
        /* @n_bytes: written so far. Return: whether to go on. May be NULL. */
        bool (*on_progress)(void *userdata, uint64_t n_bytes);
        /* Offsets @first..@last of a partition are not there. May be NULL. */
        void (*on_lost)(void *userdata, uint64_t partition_id, uint64_t first, uint64_t last);
};

/**
 * salvage_run() - make @to of what is good in @from
 * @io: of io/io-posix.h: its jobs are run here
 *
 * Return: 0, also where something was lost: @ret says so; -EEXIST @to is there already (or what an
 * earlier attempt left, "@to.part"); -ENOENT, -ENOTDIR @from is not a node's directory;
 * -EPROTONOSUPPORT a newer format; -ECANCELED; -ENOSPC, -ENOMEM, … of the system: nothing of that
 * name is left.
 */
int salvage_run(struct io *io,
                const char *from,
                const char *to,
                const struct salvage_events *events,
                void *userdata,
                struct salvage_sums *ret);
