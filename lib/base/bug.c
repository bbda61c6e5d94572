/* SPDX-License-Identifier: Apache-2.0 */
/* The switch of the planted bugs; the only global variable that the core can see, and not in a
 * release. */
#include "base/bug.h"

static const char *const bug_names[_BUG_MAX] = { [BUG_NONE] = "none",
#define BUG_NAME(id, name) [BUG_##id] = name,
                                                 BUG_TABLE(BUG_NAME)
#undef BUG_NAME
};

#ifdef DRMQ_PLANTED_BUGS
enum bug bug_planted = BUG_NONE;
#endif

const char *bug_name(enum bug b) {
        return b < _BUG_MAX ? bug_names[b] : NULL;
}

int bug_plant(const char *name) {
        assert(name);

        for (enum bug b = BUG_NONE; b < _BUG_MAX; b++)
                if (streq(bug_names[b], name)) {
#ifdef DRMQ_PLANTED_BUGS
                        bug_planted = b;
                        return 0;
#else
                        return b == BUG_NONE ? 0 : -EOPNOTSUPP;
#endif
                }

        return -EINVAL;
}
