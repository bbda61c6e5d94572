/* SPDX-License-Identifier: Apache-2.0 */

/* Tests cli/options.h and cli/verbs.h: what is taken, what is refused and how, and that help fits
 * its width. */

#include <syslog.h>

#include "base/logging.h"
#include "cli/exit-code.h"
#include "cli/verbs.h"
#include "tests/lib/test.h"

static const struct option_spec specs[] = {
        { 'b', "brokers", "LIST", "where", false },
        { OPTION_LONG(0),
          "count",
          "N",
          "how many; a long text that does not fit into one line of help",
          false },
        { OPTION_LONG(1), "force", NULL, "only with a verb", true },
        { 'e', "end", NULL, "stop", false },
        OPTIONS_COMMON,
};

static int run_nothing(char **args, size_t n_args, void *userdata) {
        (void) args;
        (void) n_args;
        (void) userdata;
        return 0;
}

static const int take_options[] = { OPTION_LONG(1), 0 };

static const struct verb verbs[] = {
        { "status", "", 0, 0, NULL, "how it is", run_nothing },
        { "thing take", "NAME", 1, 1, take_options, "take it", run_nothing },
        { "thing list", "", 0, VERB_ANY, NULL, "list them", run_nothing },
};

static const struct program program = {
        .name = "tool",
        .usage = "[OPTION]... THING\n--end",
        .summary = "Does things.",
        .options = specs,
        .n_options = ELEMENTSOF(specs),
        .verbs = verbs,
        .n_verbs = ELEMENTSOF(verbs),
};

/* The last message that was logged. */
static char logged[LOG_TEXT_MAX];

static void keep(const struct log_record *record, void *userdata) {
        (void) userdata;
        (void) snprintf(logged, sizeof(logged), "%s", record->text);
}

/* argv of a command line in words. */
static void start(struct options *o, char **words) {
        int n = 0;

        while (words[n])
                n++;
        logged[0] = '\0';
        log_set_sink(keep, NULL);
        options_init(o, &program, n, words);
}

#define START(o, ...) start((o), (char *[]){ "tool", __VA_ARGS__, NULL })

TEST(options_and_arguments_may_be_mixed) {
        char *words[] = { "tool", "x", "--count=5", "-b", "here", "y", "--", "--force", NULL };
        struct options o;
        const char *value;
        uint64_t v;

        start(&o, words);
        ASSERT_EQ(options_next(&o, &value), OPTION_LONG(0));
        ASSERT_OK(options_uint(&o, value, 1, 10, &v));
        ASSERT_EQ(v, 5);
        ASSERT_EQ(options_next(&o, &value), 'b');
        ASSERT_STREQ(value, "here");
        ASSERT_EQ(options_next(&o, &value), 0);
        ASSERT_EQ(o.n_args, 3);
        ASSERT_STREQ(o.args[0], "x");
        ASSERT_STREQ(o.args[1], "y");
        ASSERT_STREQ(o.args[2], "--force");
        ASSERT_TRUE(options_has(&o, 'b'));
        ASSERT_FALSE(options_has(&o, 'e'));
}

TEST(unknown_option_is_named) {
        struct options o;
        const char *value;

        START(&o, "--frobnicate");
        ASSERT_ERROR(options_next(&o, &value), EINVAL);
        ASSERT_STREQ(logged, "Unknown option --frobnicate; see tool --help");

        START(&o, "-x");
        ASSERT_ERROR(options_next(&o, &value), EINVAL);
        ASSERT_STREQ(logged, "Unknown option -x; see tool --help");
}

TEST(missing_and_needless_values_are_named) {
        struct options o;
        const char *value;

        START(&o, "--count");
        ASSERT_ERROR(options_next(&o, &value), EINVAL);
        ASSERT_STREQ(logged, "Option --count needs N; see tool --help");

        START(&o, "-b");
        ASSERT_ERROR(options_next(&o, &value), EINVAL);
        ASSERT_STREQ(logged, "Option -b/--brokers needs LIST; see tool --help");

        START(&o, "--end=now");
        ASSERT_ERROR(options_next(&o, &value), EINVAL);
        ASSERT_STREQ(logged, "Option -e/--end takes no value; see tool --help");
}

TEST(values_out_of_form_name_option_and_range) {
        static const char *const names[] = { "all", "none", NULL };
        struct options o;
        const char *value;
        uint64_t v = 77;
        unsigned which = 77;

        START(&o, "--count=0");
        ASSERT_EQ(options_next(&o, &value), OPTION_LONG(0));
        ASSERT_ERROR(options_uint(&o, value, 1, 10, &v), EINVAL);
        ASSERT_STREQ(logged, "Option --count: '0' is not a number from 1 to 10; see tool --help");
        ASSERT_ERROR(options_uint(&o, value, 1, UINT64_MAX, &v), EINVAL);
        ASSERT_STREQ(logged, "Option --count: '0' is not a number from 1 on; see tool --help");
        ASSERT_ERROR(options_size(&o, value, 1024, 2048, &v), EINVAL);
        ASSERT_STREQ(logged, "Option --count: '0' is not a size from 1K to 2K; see tool --help");
        ASSERT_ERROR(options_duration(&o, "soon", &v), EINVAL);
        ASSERT_STREQ(
                logged,
                "Option --count: 'soon' is not a time such as 30s, 5min or 100ms; see tool --help");
        ASSERT_ERROR(options_choice(&o, "some", names, &which), EINVAL);
        ASSERT_STREQ(logged, "Option --count: 'some' is not one of all, none; see tool --help");
        ASSERT_EQ(v, 77);
        ASSERT_EQ(which, 77);

        ASSERT_OK(options_choice(&o, "none", names, &which));
        ASSERT_EQ(which, 1);
        ASSERT_OK(options_size(&o, "2K", 1024, 2048, &v));
        ASSERT_EQ(v, 2048);
}

TEST(exclusion_names_both) {
        struct options o;
        const char *value;

        START(&o, "-e", "--count=1");
        while (options_next(&o, &value) > 0)
                ;
        ASSERT_ERROR(options_exclude(&o, 'e', OPTION_LONG(0)), EINVAL);
        ASSERT_STREQ(logged, "-e/--end and --count exclude each other; see tool --help");
        ASSERT_OK(options_exclude(&o, 'e', 'b'));
}

TEST(statuses) {
        ASSERT_EQ(options_exit_code(-EINVAL), EXIT_USAGE);
        ASSERT_EQ(options_exit_code(-ECANCELED), EXIT_DONE);
        ASSERT_EQ(options_exit_code(-EIO), EXIT_FAILED);
        ASSERT_EQ(exit_code_of(0), EXIT_DONE);
        ASSERT_EQ(exit_code_of(EXIT_PARTLY), EXIT_PARTLY);
        ASSERT_EQ(exit_code_of(-ENOENT), EXIT_FAILED);
        ASSERT_EQ(exit_code_of(-ETIMEDOUT), EXIT_TIMED_OUT);
        ASSERT_EQ(exit_code_of(-ENOTCONN), EXIT_UNREACHABLE);
        ASSERT_EQ(exit_code_of(-EAGAIN), EXIT_UNREACHABLE);
        ASSERT_EQ(exit_code_of(-EPERM), EXIT_NOT_PERMITTED);
}

TEST(help_fits_and_names_all) {
        _cleanup_(mem_freep) char *help = options_help(&program);

        ASSERT_NOT_NULL(help);
        ASSERT_NOT_NULL(strstr(help, "Usage: tool [OPTION]... THING\n       tool --end\n"));
        ASSERT_NOT_NULL(strstr(help, "\n  thing take NAME "));
        ASSERT_NOT_NULL(strstr(help, "\n  -b, --brokers=LIST  "));
        ASSERT_NOT_NULL(strstr(help, "\n      --count=N  "));
        ASSERT_NOT_NULL(strstr(help, "\n  -h, --help "));

        for (const char *line = help; *line; line += strcspn(line, "\n") + 1)
                ASSERT_LE(strcspn(line, "\n"), OPTION_WIDTH);
}

static int find(struct options *o, const struct verb **ret, size_t *ret_n_args) {
        const char *value;
        char **args;

        while (options_next(o, &value) > 0)
                ;
        return verbs_find(o, ret, &args, ret_n_args);
}

TEST(verbs_of_one_and_two_words_are_found) {
        const struct verb *v;
        struct options o;
        size_t n;

        START(&o, "status");
        ASSERT_OK(find(&o, &v, &n));
        ASSERT_EQ(v - verbs, 0);
        ASSERT_EQ(n, 0);

        START(&o, "thing", "--force", "take", "it");
        ASSERT_OK(find(&o, &v, &n));
        ASSERT_EQ(v - verbs, 1);
        ASSERT_EQ(n, 1);
}

static void refuse(struct options *o, const char *expected) {
        const struct verb *v;
        size_t n;

        ASSERT_ERROR(find(o, &v, &n), EINVAL);
        ASSERT_STREQ(logged, expected);
}

TEST(verbs_that_do_not_fit_are_refused) {
        char *nothing[] = { "tool", NULL };
        struct options o;

        start(&o, nothing);
        refuse(&o, "Say what to do; see tool --help");
        START(&o, "dance");
        refuse(&o, "Unknown verb 'dance'; see tool --help");
        START(&o, "thing");
        refuse(&o, "'thing' needs one of take, list; see tool --help");
        START(&o, "thing", "drop");
        refuse(&o, "'thing' knows no 'drop', only take, list; see tool --help");
        START(&o, "thing", "take");
        refuse(&o, "'thing take' needs NAME; see tool --help");
        START(&o, "thing", "take", "a", "b");
        refuse(&o, "'thing take': 'b' is too much; see tool --help");
        START(&o, "status", "--force");
        refuse(&o, "'status' takes no --force; see tool --help");
}
