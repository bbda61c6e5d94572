/* SPDX-License-Identifier: Apache-2.0 */

/* drmqctl offsets: where a topic's partitions begin, end, or were at a time. */

#include "base/logging.h"
#include "base/parse.h"
#include "cli/connect.h"
#include "cli/exit-code.h"
#include "drmqctl/view.h"

static int parse_at(const char *at, enum drmq_from *ret, int64_t *ret_value) {
        *ret_value = 0;
        if (!at || streq(at, "end"))
                *ret = DRMQ_FROM_END;
        else if (streq(at, "beginning"))
                *ret = DRMQ_FROM_BEGINNING;
        else if (parse_time_ms(at, now_wall_ms(), ret_value) >= 0)
                *ret = DRMQ_FROM_TIME;
        else
                return -EINVAL;
        return 0;
}

int offsets_show(char **args, size_t n_args, void *userdata) {
        static const struct output_column columns[] = {
                { NULL, "topic", OUTPUT_TEXT },
                { "PARTITION", "partition", OUTPUT_NUMBER },
                { "OFFSET", "offset", OUTPUT_NUMBER },
                { "APPENDED", "append_time", OUTPUT_TIME },
        };
        _cleanup_(output_freep) struct output *o = NULL;
        const struct view *v = userdata;
        const struct drmq_offset_info *offsets;
        enum drmq_from from;
        int64_t value;
        size_t n;
        int r;

        (void) n_args;

        r = parse_at(v->at, &from, &value);
        if (r < 0) {
                log_error("Option --at: '%s' is none of beginning, end, a time; see drmqctl --help",
                          v->at);
                return EXIT_USAGE;
        }

        r = drmq_topic_offsets(v->client, args[0], from, value, &offsets, &n);
        if (r < 0)
                return connect_error(v->client, r, "Cannot ask for the offsets of %s", args[0]);
        r = output_new(columns, ELEMENTSOF(columns), OUTPUT_ROWS, &o);
        if (r < 0)
                return log_oom();

        for (size_t i = 0; i < n; i++) {
                output_text(o, args[0]);
                output_number(o, offsets[i].partition);
                output_number(o, offsets[i].offset);
                output_time(o, offsets[i].append_time_ms);
        }
        return view_show(v, o);
}
