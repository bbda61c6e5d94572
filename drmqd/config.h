/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the daemon is told: its command line, and the keys "section.key" that --set takes. Every key
 * has a type, a default and a range; drmqd(8) lists them.
 */

#include "base/macro.h"
#include "base/parse.h"
#include "base/time.h"

#define LISTEN_MAX 16u
#define DEFAULT_PORT 9092u

struct config {
        char *node_name;  /* NULL: "node" and the node's number */
        uint64_t node_id; /* 0: what the directory says */
        char *data_dir;
        char *advertise; /* NULL: the first TCP address */
        struct address listen[LISTEN_MAX];
        size_t n_listen;

        bool auto_create;
        uint64_t default_partitions;
        uint64_t segment_bytes;
        uint64_t checkpoint_bytes;
        uint64_t request_bytes;
        uint64_t fetch_bytes;
        uint64_t connections;
        usec_t idle_usec;
};

/* The defaults. */
void config_init(struct config *c);
void config_done(struct config *c);

/**
 * config_set() - "section.key=value"
 * @reterr_why: in words, what is wrong with it: new string (mem_free()), or NULL without memory
 *
 * Return: 0; -EINVAL; -ENOMEM.
 */
int config_set(struct config *c, const char *assignment, char **reterr_why);
