/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The loop of drmq-recv: messages from the consumer to stdout. Output is gathered while there is
 * more to come and written before every wait, so it is both fast and prompt; a group's position is
 * committed only behind what was written.
 */

#include "base/time.h"
#include "cli/progress.h"
#include "drmq-recv/format.h"
#include "drmq.h"

struct receiver_config {
        const struct format *format;
        const char *group;  /* NULL: no positions */
        uint64_t n_max;     /* UINT64_MAX: no limit */
        usec_t idle_usec;   /* USEC_INFINITY: waits for ever */
        usec_t commit_usec; /* between two commits */
        bool fail_if_empty;
        enum progress_when progress;
};

/**
 * receiver_run() - receive until the end, a limit, or a signal
 * @k: subscribed
 *
 * Return: a status of cli/exit-code.h; what went wrong was logged.
 */
int receiver_run(drmq_client *c, drmq_consumer *k, const struct receiver_config *config);
