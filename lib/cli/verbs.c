/* SPDX-License-Identifier: Apache-2.0 */

/* Finds verbs in their table, and says what there is where it finds none. */

#include "cli/verbs.h"

#include <stdio.h>

/* How many of the arguments the name of @v is: its words, or 0. */
static size_t words_matched(const struct verb *v, char **args, size_t n_args) {
        const char *name = v->name;
        size_t i = 0;

        for (;;) {
                size_t n = strcspn(name, " ");

                if (i >= n_args || strlen(args[i]) != n || memcmp(args[i], name, n) != 0)
                        return 0;
                i++;
                if (!name[n])
                        return i;
                name += n + 1;
        }
}

/* Second words of verbs whose first is @noun: "list, create, …"; "" where there is no such noun. */
static void list_below(const struct program *p, const char *noun, char *dest, size_t n_dest) {
        size_t n_noun = strlen(noun), n = 0;

        *dest = '\0';
        for (size_t i = 0; i < p->n_verbs; i++) {
                const char *name = p->verbs[i].name;
                int k;

                if (strncmp(name, noun, n_noun) != 0 || name[n_noun] != ' ')
                        continue;
                k = snprintf(dest + n, n_dest - n, "%s%s", n > 0 ? ", " : "", name + n_noun + 1);
                assert(k >= 0 && (size_t) k < n_dest - n);
                n += (size_t) k;
        }
}

static int not_found(const struct options *o) {
        char list[512];

        list_below(o->program, o->args[0], list, sizeof(list));
        if (!*list)
                return options_error(o, "Unknown verb '%s'", o->args[0]);
        if (o->n_args == 1)
                return options_error(o, "'%s' needs one of %s", o->args[0], list);
        return options_error(o, "'%s' knows no '%s', only %s", o->args[0], o->args[1], list);
}

static bool takes_option(const struct verb *v, int id) {
        for (const int *p = v->options; p && *p != 0; p++)
                if (*p == id)
                        return true;
        return false;
}

int verbs_find(const struct options *o,
               const struct verb **ret,
               char ***ret_args,
               size_t *ret_n_args) {

        const struct verb *found = NULL;
        size_t n_words = 0, n_args;

        assert(o);
        assert(o->args);
        assert(ret);
        assert(ret_args);
        assert(ret_n_args);

        if (o->n_args == 0)
                return options_error(o, "Say what to do");

        for (size_t i = 0; i < o->program->n_verbs && !found; i++) {
                n_words = words_matched(&o->program->verbs[i], o->args, o->n_args);
                if (n_words > 0)
                        found = &o->program->verbs[i];
        }
        if (!found)
                return not_found(o);

        for (size_t i = 0; i < o->program->n_options; i++) {
                const struct option_spec *s = &o->program->options[i];

                if (o->is_seen[i] && s->is_of_verbs && !takes_option(found, s->id))
                        return options_error(o, "'%s' takes no --%s", found->name, s->name);
        }

        n_args = o->n_args - n_words;
        if (n_args < found->n_args_min)
                return options_error(o, "'%s' needs %s", found->name, found->arguments);
        if (n_args > found->n_args_max)
                return options_error(o,
                                     "'%s': '%s' is too much",
                                     found->name,
                                     o->args[n_words + found->n_args_max]);

        *ret = found;
        *ret_args = o->args + n_words;
        *ret_n_args = n_args;
        return 0;
}
