/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Linked to every fuzz target: switches on the planted bug that $DRMQ_PLANT names (base/bug.h), so
 * that tests/fuzz/planted.sh can show that the alarm works.
 */

#include <stdio.h>
#include <stdlib.h>

#include "base/bug.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
        const char *name = getenv("DRMQ_PLANT");

        (void) argc;
        (void) argv;
        if (name && bug_plant(name) < 0) {
                (void) fprintf(stderr, "There is no planted bug \"%s\"\n", name);
                exit(EXIT_FAILURE);
        }
        return 0;
}
