/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the verbs of drmqctl get: whom to ask, what was asked, how to show the answer. */

#include "cli/output.h"
#include "drmq.h"

struct view {
        drmq_client *client;
        enum output_form form;
        uint32_t n_partitions; /* --partitions; 0: not given */
        bool if_not_exists, yes;
        const char *at; /* --at; NULL: not given */
        const char *to; /* --to; NULL: not given */
        uint64_t shard; /* --shard, where has_shard */
        uint64_t from_index;
        bool has_shard, groups, progress;
};

/* Prints @o, or says why not. Return: 0; negative errno, logged. */
int view_show(const struct view *v, const struct output *o);

/* The verbs (cli/verbs.h): @userdata is the struct view. Return: a status of cli/exit-code.h, or a
 * negative errno, logged. */
int status_show(char **args, size_t n_args, void *userdata);
int status_leader(char **args, size_t n_args, void *userdata);
int metrics_show(char **args, size_t n_args, void *userdata);

int topics_list(char **args, size_t n_args, void *userdata);
int topics_create(char **args, size_t n_args, void *userdata);
int topics_describe(char **args, size_t n_args, void *userdata);
int topics_alter(char **args, size_t n_args, void *userdata);
int topics_delete(char **args, size_t n_args, void *userdata);

int offsets_show(char **args, size_t n_args, void *userdata);

int config_show(char **args, size_t n_args, void *userdata);

/* These need no daemon: view.client is NULL. */
int log_dump(char **args, size_t n_args, void *userdata);
int log_verify(char **args, size_t n_args, void *userdata);
int log_salvage(char **args, size_t n_args, void *userdata);
int log_accept_loss(char **args, size_t n_args, void *userdata);
