/* SPDX-License-Identifier: Apache-2.0 */

/* drmq-sim: runs of the simulator, from seeds. */

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bug.h"
#include "base/parse.h"
#include "base/time.h"
#include "tests/sim/run.h"

#define FAULT_USEC_DEFAULT (10 * USEC_PER_SEC)

static uint64_t arg_first = 1;
static uint64_t arg_count = 1;
static usec_t arg_for = USEC_INFINITY;
static usec_t arg_fault_usec = FAULT_USEC_DEFAULT;
static const char *arg_plant; /* NULL: none */
static bool arg_trace;
static bool arg_hash;
static bool arg_quiet;

static int help(void) {
        printf("drmq-sim [OPTION]...\n\n"
               "Runs a broker and its clients in a simulated world, and checks what they promise.\n\n"
               "     --seed N                 run this seed (1)\n"
               "     --first N --count N      run so many seeds, from this one on\n"
               "     --seeds FROM-TO          the same\n"
               "     --for DURATION           begin no further run after so long; without\n"
               "                              --count or --seeds, go on until then\n"
               "     --seconds-simulated N    let things go wrong for so long (10)\n"
               "     --trace                  print what happens\n"
               "     --hash                   print a hash of what happens\n"
               "     --plant BUG              switch on a bug:");
        for (enum bug b = BUG_NONE + 1; bug_name(b); b++)
                printf(" %s", bug_name(b));
        printf("\n"
               "     --quiet                  print failures only\n"
               "     --help\n\n"
               "Exits 0 when all runs were clean, 1 when one failed, 2 on wrong usage.\n");
        return EXIT_SUCCESS;
}

static _noreturn_ void usage(const char *option, const char *value) {
        fprintf(stderr, "drmq-sim: --%s: %s is not valid, see --help\n", option, value);
        exit(2);
}

static uint64_t number(const char *option, const char *value, uint64_t min) {
        uint64_t v;

        if (parse_uint64_range(value, min, UINT64_MAX, &v) < 0)
                usage(option, value);
        return v;
}

static void parse_seeds(char *value) {
        char *dash = strchr(value, '-');
        uint64_t to;

        if (!dash)
                usage("seeds", value);
        *dash = 0;
        arg_first = number("seeds", value, 0);
        to = number("seeds", dash + 1, arg_first);
        arg_count = to - arg_first + 1;
}

static void parse_arguments(int argc, char *argv[]) {
        enum { SEED = 1, FIRST, COUNT, SEEDS, FOR, SECONDS, TRACE, HASH, PLANT, QUIET, HELP };
        static const struct option options[] = {
                { "seed", required_argument, NULL, SEED },
                { "first", required_argument, NULL, FIRST },
                { "count", required_argument, NULL, COUNT },
                { "seeds", required_argument, NULL, SEEDS },
                { "for", required_argument, NULL, FOR },
                { "seconds-simulated", required_argument, NULL, SECONDS },
                { "trace", no_argument, NULL, TRACE },
                { "hash", no_argument, NULL, HASH },
                { "plant", required_argument, NULL, PLANT },
                { "quiet", no_argument, NULL, QUIET },
                { "help", no_argument, NULL, HELP },
                {},
        };
        bool has_count = false, has_for = false;
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case SEED:
                        arg_first = number("seed", optarg, 0);
                        has_count = true;
                        break;
                case FIRST:
                        arg_first = number("first", optarg, 0);
                        break;
                case COUNT:
                        arg_count = number("count", optarg, 1);
                        has_count = true;
                        break;
                case SEEDS:
                        parse_seeds(optarg);
                        has_count = true;
                        break;
                case FOR:
                        if (parse_duration(optarg, &arg_for) < 0)
                                usage("for", optarg);
                        has_for = true;
                        break;
                case SECONDS:
                        arg_fault_usec = number("seconds-simulated", optarg, 1) * USEC_PER_SEC;
                        break;
                case TRACE:
                        arg_trace = true;
                        break;
                case HASH:
                        arg_hash = true;
                        break;
                case PLANT:
                        if (bug_plant(optarg) < 0)
                                usage("plant", optarg);
                        arg_plant = optarg;
                        break;
                case QUIET:
                        arg_quiet = true;
                        break;
                case HELP:
                        exit(help());
                default:
                        exit(2);
                }

        if (optind < argc) {
                fprintf(stderr, "drmq-sim: unexpected argument %s, see --help\n", argv[optind]);
                exit(2);
        }
        if (has_for && !has_count)
                arg_count = UINT64_MAX;
}

/* An assertion that fails, or worse, is a finding too: it has to say by which seed. */
static char last_words[128];

static void on_crash(int signal_number) {
        (void) !write(STDOUT_FILENO, last_words, strlen(last_words));
        (void) signal(signal_number, SIG_DFL);
        _exit(EXIT_FAILURE);
}

static void prepare_last_words(uint64_t seed) {
        fflush(stdout);
        (void) snprintf(last_words,
                        sizeof(last_words),
                        "FAILED checker crash: see above; replay: drmq-sim --seed %" PRIu64
                        "%s%s\n",
                        seed,
                        arg_plant ? " --plant " : "",
                        arg_plant ?: "");
}

int main(int argc, char *argv[]) {
        uint64_t n_runs = 0, n_acknowledged = 0, n_read = 0, n_lost = 0, n_gone = 0;
        usec_t begin = now_monotonic_usec();

        parse_arguments(argc, argv);
        (void) signal(SIGABRT, on_crash);
        (void) signal(SIGSEGV, on_crash);

        for (uint64_t i = 0; i < arg_count && now_monotonic_usec() - begin < arg_for; i++) {
                const struct sim_run_options options = {
                        .seed = arg_first + i,
                        .fault_usec = arg_fault_usec,
                        .is_printed = arg_trace,
                };
                struct sim_run_result result;

                prepare_last_words(options.seed);
                sim_run(&options, &result);
                n_runs++;
                n_acknowledged += result.n_acknowledged;
                n_lost += result.n_lost;
                n_read += result.n_read;
                n_gone += result.n_gone;

                if (arg_hash)
                        printf("seed %" PRIu64 " hash %016" PRIx64 " lines %" PRIu64 "\n",
                               options.seed,
                               result.hash,
                               result.n_lines);
                if (result.verdict.checker) {
                        printf("FAILED checker %s: %s; replay: drmq-sim --seed %" PRIu64 "%s%s\n",
                               result.verdict.checker,
                               result.verdict.text,
                               options.seed,
                               arg_plant ? " --plant " : "",
                               arg_plant ?: "");
                        return EXIT_FAILURE;
                }
        }

        if (!arg_quiet)
                printf("%" PRIu64 " runs clean: %" PRIu64 " messages acknowledged, %" PRIu64
                       " read, %" PRIu64 " not synced yet and lost, %" PRIu64
                       " gone by retention\n",
                       n_runs,
                       n_acknowledged,
                       n_read,
                       n_lost,
                       n_gone);
        return EXIT_SUCCESS;
}
