/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One run of the simulator: a broker, its clients, and all that goes wrong, from one seed.
 *
 * First faults, for a while; then none: what was sent must come to its end, the broker is ended
 * once more and started again, everything is read, the checkers judge, and it stops in good order.
 */

#include "tests/sim/check.h"

struct sim_run_options {
        uint64_t seed;
        usec_t fault_usec; /* simulated: how long things go wrong */
        bool is_printed;   /* the trace */
};

struct sim_run_result {
        struct sim_verdict verdict; /* checker NULL: clean */
        uint64_t hash;              /* of the trace */
        uint64_t n_lines;
        uint64_t n_sent, n_acknowledged, n_read, n_lost;
        uint64_t n_gone; /* by retention */
        usec_t simulated_usec;
};

void sim_run(const struct sim_run_options *o, struct sim_run_result *ret);
