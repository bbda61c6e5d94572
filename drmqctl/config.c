/* SPDX-License-Identifier: Apache-2.0 */

/* drmqctl config: what the node was told, and by whom. */

#include <limits.h>

#include "base/alloc.h"
#include "base/logging.h"
#include "base/nearest.h"
#include "cli/connect.h"
#include "cli/exit-code.h"
#include "drmqctl/view.h"

static const struct output_column columns[] = {
        { "KEY", "key", OUTPUT_TEXT },         { "VALUE", "value", OUTPUT_TEXT },
        { "SOURCE", "source", OUTPUT_TEXT },   { "WHERE", "where", OUTPUT_TEXT },
        { "RELOAD", "reload", OUTPUT_YES_NO }, { "AFTER RESTART", "pending", OUTPUT_TEXT },
        { NULL, "default", OUTPUT_TEXT },
};

static void add_text(struct output *o, const char *s) {
        if (s[0] != '\0')
                output_text(o, s);
        else
                output_none(o);
}

static void add_key(struct output *o, const struct drmq_config_key *k) {
        output_text(o, k->name);
        output_text(o, k->value);
        output_text(o, k->source);
        add_text(o, k->where);
        output_number(o, k->can_reload);
        add_text(o, k->pending);
        output_text(o, k->default_value);
}

static const struct drmq_config_key *
find_key(const struct drmq_config_key *keys, size_t n, const char *name) {
        for (size_t i = 0; i < n; i++)
                if (streq(keys[i].name, name))
                        return keys + i;
        return NULL;
}

static void say_unknown(const struct drmq_config_key *keys, size_t n, const char *name) {
        unsigned best_distance = UINT_MAX;
        const char *best = NULL;

        for (size_t i = 0; i < n; i++) {
                unsigned d = nearest_distance(name, keys[i].name, nearest_distance_max(name));

                if (d < best_distance) {
                        best_distance = d;
                        best = keys[i].name;
                }
        }
        log_error("The node has no key %s%s%s%s",
                  name,
                  best ? "; did you mean " : "",
                  best ? best : "",
                  best ? "?" : "");
}

int config_show(char **args, size_t n_args, void *userdata) {
        _cleanup_(output_freep) struct output *o = NULL;
        const struct view *v = userdata;
        const struct drmq_config_key *keys;
        size_t n;
        int r;

        r = drmq_config_list(v->client, &keys, &n);
        if (r < 0)
                return connect_error(v->client, r, "Cannot ask for the configuration");
        r = output_new(columns, ELEMENTSOF(columns), OUTPUT_ROWS, &o);
        if (r < 0)
                return log_oom();

        for (size_t i = 0; i < (n_args > 0 ? n_args : n); i++) {
                const struct drmq_config_key *k =
                        n_args > 0 ? find_key(keys, n, args[i]) : keys + i;

                if (!k) {
                        say_unknown(keys, n, args[i]);
                        return EXIT_FAILED;
                }
                add_key(o, k);
        }

        r = view_show(v, o);
        return r < 0 ? r : EXIT_DONE;
}
