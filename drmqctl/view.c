/* SPDX-License-Identifier: Apache-2.0 */

/* How answers are shown, in the one form that was asked for. */

#include "drmqctl/view.h"

#include <unistd.h>

#include "base/logging.h"

int view_show(const struct view *v, const struct output *o) {
        int r;

        assert(v);
        assert(o);

        r = output_print(o, v->form, STDOUT_FILENO);
        if (r < 0)
                return log_error_errno(r, "Cannot write to stdout: %m");
        return 0;
}
