/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * drmq-recv --dir: the messages of topics out of a node's directory, live or not, without its
 * daemon. Options mean what they mean over the network.
 */

#include "drmq-recv/receiver.h"

struct directory_config {
        const struct receiver_config
                *output; /* format, n_max, idle_usec, fail_if_empty, progress */
        const char *dir;
        char *const *topics;
        size_t n_topics;
        const uint32_t *partitions; /* 0 of them: all */
        size_t n_partitions;
        enum drmq_from from;
        int64_t from_value;
        bool exit_at_end;
        bool waits_for_topics; /* one that is not there may still come */
        bool uncommitted;      /* also what is behind the commit index */
};

/**
 * directory_run() - print until the end, a limit, or a signal
 *
 * Return: a status of cli/exit-code.h; what went wrong was logged. EXIT_FAILED also where all that
 * is good was printed, and something was not.
 */
int directory_run(const struct directory_config *config);
