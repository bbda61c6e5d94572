/* SPDX-License-Identifier: Apache-2.0 */

/* The table of keys, where values come from, and what is said of mistakes; the page and the samples
 * say the same as the table. */

#include <ctype.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/ini.h"
#include "drmqd/config-load.h"
#include "drmqd/config-names.h"
#include "log/shard-log.h"
#include "tests/lib/test.h"

#define PAGE "man/drmq.conf.5"
#define SAMPLE "systemd/node.conf"

static const struct config_key *key(const char *name) {
        const struct config_key *k = config_key_find(name, strlen(name));

        if (!k)
                test_fail(__FILE__, __LINE__, "no key %s", name);
        return k;
}

static void expect_value(const struct config *c, const char *name, const char *value) {
        _cleanup_(mem_freep) char *text = config_format(c, key(name));

        ASSERT_STREQ(text, value);
}

static void expect_where(const struct config *c, const char *name, const char *where) {
        ASSERT_STREQ(c->origins[key(name) - config_keys].where, where);
}

static int assign(struct config *c, const char *name, const char *value) {
        return config_assign(c, key(name), value, CONFIG_FILE, "f:1");
}

/* One note that begins so and has these words somewhere. */
static void
expect_note(const struct config_notes *n, int level, const char *begin, const char *words) {
        for (size_t i = 0; i < n->n; i++)
                if (n->notes[i].level == level &&
                    strncmp(n->notes[i].text, begin, strlen(begin)) == 0 &&
                    strstr(n->notes[i].text, words))
                        return;
        for (size_t i = 0; i < n->n; i++)
                printf("# %d %s\n", n->notes[i].level, n->notes[i].text);
        test_fail(__FILE__, __LINE__, "no note \"%s … %s\"", begin, words);
}

/* A file of configuration, as text. */
struct reading {
        struct config config;
        struct config_notes notes;
};

static void reading_done(struct reading *r) {
        config_done(&r->config);
        config_notes_done(&r->notes);
}

static void read_text(struct reading *r, const char *text) {
        *r = (struct reading){};
        config_init(&r->config);
        ASSERT_OK(config_read(&r->config, "file", text, strlen(text), &r->notes));
}

/* The table */

TEST(each_default_is_what_the_table_says) {
        struct config c, other;

        config_init(&c);
        config_init(&other);
        for (size_t i = 0; i < config_n_keys; i++) {
                const struct config_key *k = config_keys + i;
                _cleanup_(mem_freep) char *text = config_format(&c, k);

                ASSERT_STREQ(text, k->default_text);
                if (k->type >= CONFIG_NAME)
                        continue;
                ASSERT_OK(config_assign(&other, k, k->default_text, CONFIG_FILE, "f:1"));
                expect_value(&other, k->name, k->default_text);
        }
        config_done(&other);
        config_done(&c);
}

TEST(each_bound_is_inside_and_the_next_value_outside) {
        struct config c;
        char text[32];

        config_init(&c);
        for (size_t i = 0; i < config_n_keys; i++) {
                const struct config_key *k = config_keys + i;
                const char *unit = k->type == CONFIG_DURATION ? "us" : "";

                if (k->type < CONFIG_COUNT || k->type > CONFIG_DURATION)
                        continue;
                ASSERT_LT(k->min, k->max);
                (void) snprintf(text, sizeof(text), "%llu%s", (unsigned long long) k->min, unit);
                ASSERT_OK(assign(&c, k->name, text));
                ASSERT_EQ(*(uint64_t *) ((char *) &c + k->member), k->min);
                (void) snprintf(text, sizeof(text), "%llu%s", (unsigned long long) k->max, unit);
                ASSERT_OK(assign(&c, k->name, text));
                ASSERT_EQ(*(uint64_t *) ((char *) &c + k->member), k->max);
                if (k->max < UINT64_MAX) {
                        (void) snprintf(text,
                                        sizeof(text),
                                        "%llu%s",
                                        (unsigned long long) k->max + 1,
                                        unit);
                        ASSERT_ERROR(assign(&c, k->name, text), ERANGE);
                }
                if (k->min > 0) {
                        (void) snprintf(text,
                                        sizeof(text),
                                        "%llu%s",
                                        (unsigned long long) k->min - 1,
                                        unit);
                        ASSERT_ERROR(assign(&c, k->name, text), ERANGE);
                }
                ASSERT_EQ(*(uint64_t *) ((char *) &c + k->member), k->max);
        }
        config_done(&c);
}

TEST(keys_of_a_section_are_together_and_names_are_plain) {
        for (size_t i = 0; i < config_n_keys; i++) {
                const char *name = config_keys[i].name, *dot = strchr(name, '.');

                ASSERT_NOT_NULL(dot);
                for (const char *p = name; *p; p++)
                        ASSERT_TRUE(islower(*p) || *p == '_' || p == dot);
                ASSERT_TRUE(config_key_find(name, strlen(name)) == config_keys + i);
                for (size_t j = i + 2; j < config_n_keys; j++)
                        if (strncmp(name, config_keys[j].name, (size_t) (dot - name) + 1) == 0)
                                ASSERT_TRUE(strncmp(name,
                                                    config_keys[j - 1].name,
                                                    (size_t) (dot - name) + 1) == 0);
        }
}

TEST(words_and_numbers_are_told_as_they_are_read) {
        struct config c;

        config_init(&c);
        ASSERT_OK(assign(&c, "node.id", "7"));
        expect_value(&c, "node.id", "7");
        ASSERT_OK(assign(&c, "node.id", "auto"));
        ASSERT_EQ(c.broker.node_id, 0);
        expect_value(&c, "node.id", "auto");
        ASSERT_OK(assign(&c, "node.log_level", "debug"));
        ASSERT_EQ(c.log_level, LOG_DEBUG);
        ASSERT_ERROR(assign(&c, "node.log_level", "7"), EINVAL);
        ASSERT_ERROR(assign(&c, "node.log_level", "loud"), EINVAL);
        ASSERT_OK(assign(&c, "log.segment_size", "1.5M"));
        expect_value(&c, "log.segment_size", "1536K");
        ASSERT_OK(assign(&c, "log.segment_size", "1048577"));
        expect_value(&c, "log.segment_size", "1048577");
        ASSERT_OK(assign(&c, "limits.idle", "1h 30min"));
        expect_value(&c, "limits.idle", "1h 30min");
        ASSERT_OK(assign(&c, "topics.auto_create", "Off"));
        expect_value(&c, "topics.auto_create", "no");
        ASSERT_ERROR(assign(&c, "topics.auto_create", "maybe"), EINVAL);
        ASSERT_ERROR(assign(&c, "node.name", "a/b"), EINVAL);
        ASSERT_ERROR(assign(&c, "node.advertise", "unix:"), EINVAL);
        config_done(&c);
}

TEST(an_empty_value_is_the_default_again) {
        struct config c;

        config_init(&c);
        for (size_t i = 0; i < config_n_keys; i++) {
                const struct config_key *k = config_keys + i;

                if (k->type == CONFIG_NAME || k->type == CONFIG_PATH)
                        ASSERT_OK(assign(&c, k->name, "other"));
                if (k->type == CONFIG_ADDRESS || k->type == CONFIG_ADDRESSES)
                        ASSERT_OK(assign(&c, k->name, "other:1"));
                if (k->type == CONFIG_BOOL)
                        ASSERT_OK(
                                assign(&c, k->name, streq(k->default_text, "yes") ? "no" : "yes"));
                ASSERT_OK(assign(&c, k->name, ""));
                expect_value(&c, k->name, k->default_text);
                expect_where(&c, k->name, NULL);
                ASSERT_EQ(c.origins[i].source, CONFIG_DEFAULT);
        }
        config_done(&c);
}

/* Lists */

TEST(lists_grow_within_a_source_and_are_replaced_by_the_next) {
        struct config c;

        config_init(&c);
        ASSERT_OK(config_assign(&c, key("node.listen"), "a:1, b:2  [::1]:3", CONFIG_FILE, "f:1"));
        ASSERT_OK(config_assign(&c, key("node.listen"), "unix:/x", CONFIG_FILE, "f:2"));
        expect_value(&c, "node.listen", "a:1 b:2 [::1]:3 unix:/x");
        ASSERT_OK(config_assign(&c, key("node.listen"), "", CONFIG_FILE, "f:3"));
        expect_value(&c, "node.listen", "127.0.0.1:9092");
        ASSERT_OK(config_assign(&c, key("node.listen"), "c", CONFIG_FILE, "f:4"));
        expect_value(&c, "node.listen", "c:9092");
        ASSERT_OK(config_assign(&c, key("node.listen"), "d:0", CONFIG_COMMAND_LINE, "--listen"));
        ASSERT_OK(config_assign(&c, key("node.listen"), "e:0", CONFIG_COMMAND_LINE, "--listen"));
        expect_value(&c, "node.listen", "d:0 e:0");
        expect_where(&c, "node.listen", "--listen");
        ASSERT_ERROR(assign(&c, "node.listen", "f:1,,g:2"), EINVAL);
        expect_value(&c, "node.listen", "d:0 e:0");
        config_done(&c);
}

TEST(a_list_has_an_end) {
        struct config c;

        config_init(&c);
        for (unsigned i = 0; i < LISTEN_MAX; i++)
                ASSERT_OK(assign(&c, "node.listen", "a:1"));
        ASSERT_ERROR(assign(&c, "node.listen", "a:1"), ERANGE);
        ASSERT_EQ(c.n_listen, LISTEN_MAX);
        /* What replaces it may be as long. */
        ASSERT_OK(config_assign(&c, key("node.listen"), "b:1", CONFIG_ENVIRONMENT, "E"));
        ASSERT_EQ(c.n_listen, 1);
        config_done(&c);
}

/* Mistakes */

TEST(mistakes_are_told_with_file_and_line_and_the_rest_is_read) {
        _cleanup_(reading_done) struct reading r;

        read_text(&r,
                  "key=1\n"
                  "[log]\n"
                  "segment_szie = 1M\n"
                  "segment_size = 3X\n"
                  "checkpoint_size = 2M\n"
                  "[topics]\n"
                  "partitions = 10001\n"
                  "what\n"
                  "[lgo]\n"
                  "segment_size = 1M\n"
                  "[limits]\n"
                  "idle = 1s\n");
        expect_note(&r.notes, LOG_WARNING, "file:1: ", "\"key\" outside of a section");
        expect_note(&r.notes, LOG_WARNING, "file:3: ", "did you mean \"segment_size\" in [log]?");
        expect_note(&r.notes, LOG_ERR, "file:4: ", "\"3X\" is malformed for log.segment_size");
        expect_note(&r.notes, LOG_ERR, "file:4: ", "a size from 1M to 1G (default 64M)");
        expect_note(&r.notes, LOG_ERR, "file:7: ", "\"10001\" is out of range");
        expect_note(&r.notes, LOG_ERR, "file:8: ", "neither");
        expect_note(&r.notes, LOG_WARNING, "file:9: ", "did you mean [log]?");
        ASSERT_EQ(r.notes.n, 6);
        ASSERT_EQ(r.notes.n_errors, 3);
        expect_value(&r.config, "log.checkpoint_size", "2M");
        expect_where(&r.config, "log.checkpoint_size", "file:5");
        expect_value(&r.config, "limits.idle", "1s");
        ASSERT_STREQ(r.notes.notes[0].file, "file");
}

TEST(a_file_that_is_something_else_is_not_told_line_by_line) {
        _cleanup_(reading_done) struct reading r;
        enum { N = 1000 };
        char text[N * 5 + 16] = "[log]\n";

        for (size_t i = 0; i < N; i++)
                (void) snprintf(text + strlen(text), 6, "k%03u\n", (unsigned) i);
        read_text(&r, text);
        ASSERT_EQ(r.notes.n, CONFIG_NOTES_MAX + 1);
        ASSERT_EQ(r.notes.n_errors, N);
        expect_note(&r.notes, LOG_ERR, "There is more", "");
        ASSERT_OK(config_notes_add(&r.notes, LOG_WARNING, NULL, "Still told"));
        expect_note(&r.notes, LOG_WARNING, "Still told", "");
}

TEST(unknown_keys_past_the_last_note_are_read_over) {
        _cleanup_(reading_done) struct reading r;
        enum { N = 200 };
        char text[N * 7 + 32] = "[log]\n";

        for (size_t i = 0; i < N; i++)
                (void) snprintf(text + strlen(text), 8, "k%03u=1\n", (unsigned) i);
        strcat(text, "segment_size = 2M\n");
        read_text(&r, text);
        ASSERT_EQ(r.notes.n, CONFIG_NOTES_MAX + 1);
        ASSERT_EQ(r.notes.n_errors, 0);
        expect_value(&r.config, "log.segment_size", "2M");
}

static void expect_suggestion(const char *section, const char *name, const char *words) {
        _cleanup_(mem_freep) char *text = config_suggest(section, name);

        ASSERT_NOT_NULL(text);
        if (words ? !strstr(text, words) : text[0] != '\0')
                test_fail(__FILE__, __LINE__, "%s: \"%s\"", name, text);
}

TEST(slips_and_foreign_names_are_understood) {
        expect_suggestion("log", "segmentsize", "did you mean \"segment_size\" in [log]?");
        expect_suggestion("logs", "segment_size", "did you mean \"segment_size\" in [log]?");
        expect_suggestion(NULL, "log.segment_sice", "did you mean \"segment_size\" in [log]?");
        /* in another section */
        expect_suggestion("topics", "connections", "did you mean \"connections\" in [limits]?");
        /* Kafka, with its section, without, with other signs */
        expect_suggestion(NULL, "log.segment.bytes", "here it is \"segment_size\" in [log]");
        expect_suggestion("log", "segment.bytes", "here it is \"segment_size\" in [log]");
        expect_suggestion("log", "Segment_Bytes", "here it is \"segment_size\" in [log]");
        expect_suggestion("log", "flush.ms", "here it is \"sync\" in [log]");
        expect_suggestion("topics", "num.partitions", "here it is \"partitions\" in [topics]");
        expect_suggestion("log", "preset", "samples: throughput.conf and latency.conf");
        expect_suggestion("log", "tiered_storage_zebra", NULL);
        expect_suggestion(NULL, "", NULL);
}

TEST(what_does_not_go_together_is_told) {
        _cleanup_(reading_done) struct reading r;

        read_text(&r,
                  "[limits]\nrequest_bytes=17M\nfetch_bytes=1M\n"
                  "[node]\nlisten=a:1 unix:/x unix:/x a:1 b:0 b:0\nadvertise=c:0\n"
                  "[log]\nsegment_size=64M\ncheckpoint_size=60M\nmax_bytes=59M\n");
        ASSERT_EQ(r.notes.n, 0);
        ASSERT_OK(config_check(&r.config, &r.notes));
        expect_note(&r.notes, LOG_WARNING, "limits.request_bytes", "16M");
        expect_note(&r.notes, LOG_WARNING, "limits.fetch_bytes", "24M");
        expect_note(&r.notes, LOG_ERR, "node.listen has /x twice", "");
        expect_note(&r.notes, LOG_ERR, "node.listen has a twice", "");
        expect_note(&r.notes, LOG_ERR, "node.advertise is c:0", "port 0");
        expect_note(&r.notes, LOG_WARNING, "log.checkpoint_size", "log.segment_size");
        expect_note(&r.notes, LOG_WARNING, "log.max_bytes", "log.segment_size");
        expect_note(&r.notes, LOG_WARNING, "log.max_bytes", "log.checkpoint_size");
        ASSERT_EQ(r.notes.n_errors, 3);
}

/* Sources */

static const char *path_of(const char *format, ...) _printf_(1, 2);
static const char *path_of(const char *format, ...) {
        static char paths[8][512];
        static const char *dir;
        static unsigned next;
        char *path = paths[next++ % ELEMENTSOF(paths)];
        va_list ap;
        int n;

        if (!dir)
                dir = test_tmpdir();
        n = snprintf(path, sizeof(paths[0]), "%s/", dir);
        va_start(ap, format);
        (void) vsnprintf(path + n, sizeof(paths[0]) - (size_t) n, format, ap);
        va_end(ap);
        return path;
}

static void write_file(const char *path, const char *text) {
        char *slash, dir[512];
        FILE *f;

        (void) snprintf(dir, sizeof(dir), "%s", path);
        slash = strrchr(dir, '/');
        *slash = 0;
        ASSERT_OK(fs_mkdir_parents(dir, 0755));
        f = fopen(path, "we");
        ASSERT_NOT_NULL(f);
        ASSERT_TRUE(fputs(text, f) >= 0);
        ASSERT_EQ(fclose(f), 0);
}

static void load(struct reading *r, const struct config_sources *s) {
        *r = (struct reading){};
        ASSERT_OK(config_load(s, &r->config, &r->notes));
}

TEST(nothing_at_all_is_a_configuration) {
        _cleanup_(reading_done) struct reading r;

        load(&r, &(struct config_sources){ .path = path_of("nowhere") });
        ASSERT_EQ(r.notes.n, 0);
        ASSERT_STREQ(r.config.node_name, "node1");
        ASSERT_STREQ(r.config.data_dir, "/var/lib/drmq/node1");
}

TEST(the_first_file_wins_and_drop_ins_of_all_folders_follow_in_order) {
        _cleanup_(reading_done) struct reading r;
        char path[1024];

        (void) snprintf(
                path, sizeof(path), "%s:%s:%s", path_of("etc"), path_of("run"), path_of("lib"));
        write_file(path_of("run/node1.conf"), "[topics]\npartitions=2\n[limits]\nconnections=2\n");
        write_file(path_of("lib/node1.conf"), "[topics]\npartitions=3\n[limits]\nidle=3s\n");
        write_file(path_of("lib/node1.conf.d/10-a.conf"), "[topics]\npartitions=4\n");
        write_file(path_of("etc/node1.conf.d/20-b.conf"), "[topics]\npartitions=5\n");
        write_file(path_of("lib/node1.conf.d/30-c.conf"), "[topics]\npartitions=6\n");
        write_file(path_of("run/node1.conf.d/30-c.conf"), ""); /* masks it */
        write_file(path_of("etc/node1.conf.d/40-d"), "[topics]\npartitions=7\n");
        write_file(path_of("etc/node1.conf.d/.50.conf"), "[topics]\npartitions=8\n");
        write_file(path_of("etc/node2.conf"), "[topics]\npartitions=9\n");

        load(&r, &(struct config_sources){ .path = path });
        expect_value(&r.config, "topics.partitions", "5");
        expect_where(&r.config, "topics.partitions", path_of("etc/node1.conf.d/20-b.conf:2"));
        expect_value(&r.config, "limits.connections", "2");
        expect_value(&r.config, "limits.idle", "30s");
        ASSERT_EQ(r.notes.n, 4); /* the files that were read */
        expect_note(&r.notes, LOG_INFO, "Read configuration", "run/node1.conf");
}

TEST(a_name_is_looked_for_by_option_by_variable_and_by_number) {
        char *environment[] = { (char *) "DRMQ_NODE_NAME=three", NULL };
        char *number[] = { (char *) "DRMQ_NODE_ID=4", NULL };
        struct config_argument option = { .key = key("node.name"),
                                          .value = (char *) "two",
                                          .option = "--node" };
        struct config_sources s = { .path = path_of("etc") };
        struct reading r;

        write_file(path_of("etc/node1.conf"), "[topics]\npartitions=11\n");
        write_file(path_of("etc/two.conf"), "[topics]\npartitions=12\n");
        write_file(path_of("etc/three.conf"), "[topics]\npartitions=13\n");
        write_file(path_of("etc/node4.conf"), "[topics]\npartitions=14\n[node]\nid=5\n");

        load(&r, &s);
        expect_value(&r.config, "topics.partitions", "11");
        reading_done(&r);

        s.environment = number;
        load(&r, &s);
        expect_value(&r.config, "topics.partitions", "14");
        ASSERT_STREQ(r.config.node_name, "node4"); /* as its file is called */
        ASSERT_EQ(r.config.broker.node_id, 4);     /* the environment wins */
        reading_done(&r);

        s.environment = environment;
        load(&r, &s);
        expect_value(&r.config, "topics.partitions", "13");
        ASSERT_STREQ(r.config.data_dir, "/var/lib/drmq/three");
        reading_done(&r);

        s.arguments = &option;
        s.n_arguments = 1;
        load(&r, &s);
        expect_value(&r.config, "topics.partitions", "12");
        ASSERT_STREQ(r.config.node_name, "two");
        expect_where(&r.config, "node.name", "--node");
        reading_done(&r);
}

TEST(the_command_line_wins_over_the_environment_and_that_over_files) {
        char *environment[] = { (char *) "DRMQ_TOPICS_PARTITIONS=2",
                                (char *) "DRMQ_LIMITS_CONNECTIONS=2",
                                (char *) "DRMQ_NODE_LISTEN=b:1",
                                (char *) "DRMQ_BROKERS=unix:/x",
                                (char *) "DRMQ_TOPIC=t",
                                (char *) "DRMQ_LOG_SEGMENT=1M",
                                (char *) "TOPICS_PARTITIONS=9",
                                NULL };
        struct config_argument arguments[] = {
                { key("topics.partitions"), (char *) "3", "--set" },
                { key("node.listen"), (char *) "c:1", "--listen" },
                { key("node.listen"), (char *) "127.0.0.1:0", "--port" },
        };
        _cleanup_(reading_done) struct reading r;

        write_file(
                path_of("etc/node1.conf"),
                "[topics]\npartitions=1\nauto_create=no\n[limits]\nconnections=1\n[node]\nlisten=a:1\n");
        load(&r,
             &(struct config_sources){ .path = path_of("etc"),
                                       .environment = environment,
                                       .arguments = arguments,
                                       .n_arguments = ELEMENTSOF(arguments) });
        expect_value(&r.config, "topics.auto_create", "no");
        expect_value(&r.config, "limits.connections", "2");
        expect_where(&r.config, "limits.connections", "DRMQ_LIMITS_CONNECTIONS");
        expect_value(&r.config, "topics.partitions", "3");
        expect_value(&r.config, "node.listen", "c:1 127.0.0.1:0");
        /* Only what looks like a key of ours is named. */
        ASSERT_EQ(r.notes.n, 2);
        expect_note(&r.notes, LOG_WARNING, "Unknown variable DRMQ_LOG_SEGMENT,", "segment_size");
}

TEST(a_file_that_is_named_must_be_there) {
        struct config_notes notes = {};
        struct config c;

        ASSERT_ERROR(
                config_load(&(struct config_sources){ .file = path_of("none.conf") }, &c, &notes),
                EINVAL);
        expect_note(&notes, LOG_ERR, "Cannot read", "none.conf: No such file");
        config_notes_done(&notes);

        ASSERT_ERROR(config_load(&(struct config_sources){ .file = test_tmpdir() }, &c, &notes),
                     EINVAL);
        expect_note(&notes, LOG_ERR, "Cannot read", "Is a directory");
        config_notes_done(&notes);
}

TEST(a_file_that_is_named_has_its_own_drop_ins) {
        _cleanup_(reading_done) struct reading r;

        write_file(path_of("my.conf"), "[node]\nid=3\n[topics]\npartitions=2\n");
        write_file(path_of("my.conf.d/a.conf"), "[topics]\npartitions=4\n");
        write_file(path_of("etc/node1.conf"), "[limits]\nidle=1s\n");
        load(&r, &(struct config_sources){ .file = path_of("my.conf"), .path = path_of("etc") });
        expect_value(&r.config, "topics.partitions", "4");
        expect_value(&r.config, "limits.idle", "30s");
        ASSERT_STREQ(r.config.node_name, "node3");
}

TEST(a_file_that_is_too_large_is_an_error) {
        struct config_notes notes = {};
        struct config c;
        char *text = malloc(INI_BYTES_MAX + 2);

        ASSERT_NOT_NULL(text);
        memset(text, '#', INI_BYTES_MAX + 1);
        text[INI_BYTES_MAX + 1] = 0;
        write_file(path_of("big.conf"), text);
        free(text);
        ASSERT_ERROR(
                config_load(&(struct config_sources){ .file = path_of("big.conf") }, &c, &notes),
                EINVAL);
        expect_note(&notes, LOG_ERR, "Cannot read", "File too large");
        config_notes_done(&notes);
}

/* Reload */

TEST(a_reload_takes_what_it_can_and_names_the_rest) {
        struct reading now, next;

        read_text(&now, "[topics]\npartitions=2\n[log]\nsegment_size=4M\n[node]\nlisten=a:1\n");
        read_text(&next,
                  "\n[topics]\npartitions=3\n[log]\nsegment_size=8M\n[node]\nlisten=b:1\n"
                  "log_level=debug\n");
        ASSERT_EQ(config_reload(&now.config, &next.config, &next.notes), 2);
        expect_value(&now.config, "topics.partitions", "3");
        expect_where(&now.config, "topics.partitions", "file:3");
        expect_value(&now.config, "node.log_level", "debug");
        expect_value(&now.config, "log.segment_size", "4M");
        expect_where(&now.config, "log.segment_size", "file:4");
        expect_value(&now.config, "node.listen", "a:1");
        ASSERT_STREQ(now.config.pending[key("log.segment_size") - config_keys], "8M");
        ASSERT_STREQ(now.config.pending[key("node.listen") - config_keys], "b:1");
        expect_note(&next.notes, LOG_WARNING, "log.segment_size stays 4M until a restart", "8M");
        expect_note(&next.notes,
                    LOG_WARNING,
                    "node.listen stays a:1 until a restart",
                    "b:1 now (file:7)");
        reading_done(&next);

        /* Back again: nothing is pending, what is gone from the file is the default. */
        read_text(&next, "[log]\nsegment_size=4M\n[node]\nlisten=a:1\n");
        ASSERT_EQ(config_reload(&now.config, &next.config, &next.notes), 2);
        ASSERT_NULL(now.config.pending[key("log.segment_size") - config_keys]);
        ASSERT_NULL(now.config.pending[key("node.listen") - config_keys]);
        expect_value(&now.config, "topics.partitions", "1");
        expect_where(&now.config, "topics.partitions", NULL);
        reading_done(&next);
        reading_done(&now);
}

TEST(a_reload_leaves_what_a_start_filled_in) {
        struct reading now, next;

        read_text(&now, "");
        now.config.advertise = mem_strdup("127.0.0.1:4711");
        ASSERT_NOT_NULL(now.config.advertise);
        read_text(&next, "");
        ASSERT_EQ(config_reload(&now.config, &next.config, &next.notes), 0);
        ASSERT_EQ(next.notes.n, 0);
        ASSERT_STREQ(now.config.advertise, "127.0.0.1:4711");
        reading_done(&next);
        reading_done(&now);
}

TEST(settings_are_what_is_told) {
        struct broker_setting *settings;
        struct reading r;
        size_t i = (size_t) (key("log.segment_size") - config_keys);

        read_text(&r, "[log]\nsegment_size=4M\n");
        ASSERT_OK(config_settings_new(&r.config, &settings));
        ASSERT_STREQ(settings[i].name, "log.segment_size");
        ASSERT_STREQ(settings[i].value, "4M");
        ASSERT_STREQ(settings[i].default_value, "64M");
        ASSERT_STREQ(settings[i].source, "file");
        ASSERT_STREQ(settings[i].where, "file:2");
        ASSERT_STREQ(settings[i].pending, "");
        ASSERT_FALSE(settings[i].can_reload);
        ASSERT_STREQ(settings[0].source, "default");
        ASSERT_STREQ(settings[0].where, "");
        config_settings_free(settings);
        reading_done(&r);
}

/* No memory */

TEST(no_memory_for_a_configuration) {
        char *environment[] = { (char *) "DRMQ_TOPICS_PARTITIONS=2",
                                (char *) "DRMQ_LOG_X=1",
                                NULL };
        struct config_argument argument = { key("node.listen"), (char *) "c:1", "--listen" };
        struct config_sources s = { .path = path_of("etc"),
                                    .environment = environment,
                                    .arguments = &argument,
                                    .n_arguments = 1 };

        write_file(
                path_of("etc/node1.conf"),
                "[log]\nsegment_szie=1\ncheckpoint_size=2M\n[x]\n[node]\nlisten=a:1, b:2\nadvertise=d:1\n");
        write_file(path_of("etc/node1.conf.d/a.conf"), "[topics]\nauto_create=no\n");

        FAULT_SWEEP {
                _cleanup_(config_notes_done) struct config_notes notes = {};
                struct broker_setting *settings;
                struct config c, next;
                int r;

                r = config_load(&s, &c, &notes);
                if (r == -ENOMEM)
                        continue;
                ASSERT_OK(r);
                r = config_settings_new(&c, &settings);
                if (r >= 0)
                        config_settings_free(settings);
                else
                        ASSERT_ERROR(r, ENOMEM);
                config_init(&next);
                r = config_reload(&c, &next, &notes);
                if (r == -ENOMEM) { /* nothing has changed */
                        expect_value(&c, "topics.partitions", "2");
                        expect_where(&c, "topics.partitions", "DRMQ_TOPICS_PARTITIONS");
                } else
                        ASSERT_EQ(r, 3);
                config_done(&next);
                config_done(&c);
        }
}

TEST(no_memory_for_a_value_leaves_the_old_one) {
        struct config c;

        config_init(&c);
        for (size_t i = 0; i < config_n_keys; i++) {
                const struct config_key *k = config_keys + i;
                const char *first = k->type == CONFIG_ADDRESS || k->type == CONFIG_ADDRESSES ? "a:1"
                                    : k->type == CONFIG_NAME || k->type == CONFIG_PATH
                                            ? "a"
                                            : k->default_text;

                ASSERT_OK(config_assign(&c, k, first, CONFIG_FILE, "f:1"));
                for (uint64_t n = 1;; n++) {
                        bool fired;
                        int r;

                        mem_fail_at(n);
                        r = config_assign(&c, k, first, CONFIG_ENVIRONMENT, "E");
                        fired = mem_fail_at(0);
                        if (!fired) {
                                ASSERT_OK(r);
                                break;
                        }
                        ASSERT_ERROR(r, ENOMEM);
                        expect_value(&c, k->name, first);
                        expect_where(&c, k->name, "f:1");
                }
        }
        config_done(&c);
}

/* Page and samples */

/* The next line of a text, without its newline; NULL: there is none. */
static char *next_line(char **text) {
        char *line = *text, *newline;

        if (*line == '\0')
                return NULL;
        newline = strchr(line, '\n');
        if (newline)
                *newline = 0;
        *text = newline ? newline + 1 : line + strlen(line);
        return line;
}

TEST(the_page_says_what_the_table_says) {
        _cleanup_(mem_freep) char *page = NULL, *section = mem_strdup("");
        bool is_in_keys = false;
        char *rest, *line;
        size_t i = 0;

        ASSERT_OK(fs_read_file(PAGE, 1 << 20, &page, NULL));
        for (rest = page; (line = next_line(&rest));) {
                const struct config_key *k = config_keys + i;
                _cleanup_(mem_freep) char *takes = NULL, *expected = NULL, *header = NULL;

                if (strncmp(line, ".Sh ", 4) == 0)
                        is_in_keys = streq(line, ".Sh KEYS");
                if (is_in_keys && strncmp(line, ".Ss ", 4) == 0) {
                        mem_free(section);
                        section = mem_strdup(line + 4);
                }
                if (!is_in_keys || strncmp(line, ".It Cm ", 7) != 0)
                        continue;

                ASSERT_LT(i, config_n_keys);
                ASSERT_STREQ(line + 7, k->name);
                header = mem_asprintf("[%.*s]", (int) strcspn(k->name, "."), k->name);
                ASSERT_STREQ(section, header);
                takes = config_key_describe(k);
                expected = mem_asprintf("Takes %s; by default %s; changed by a %s.",
                                        takes,
                                        k->default_text,
                                        k->can_reload ? "reload" : "restart");
                ASSERT_STREQ(next_line(&rest), expected);
                i++;
        }
        ASSERT_EQ(i, config_n_keys);
}

TEST(the_page_names_what_others_call_it) {
        for (size_t i = 0; i < config_n_foreign_names; i++) {
                const struct config_foreign_name *f = config_foreign_names + i;
                _cleanup_(mem_freep) char *page = NULL, *item = NULL;
                const char *entry, *end, *line, *name, *whose;

                (void) key(f->ours);
                ASSERT_OK(fs_read_file(PAGE, 1 << 20, &page, NULL));
                item = mem_asprintf("\n.It Cm %s\n", f->ours);
                entry = strstr(page, item);
                ASSERT_NOT_NULL(entry);
                end = strstr(entry + 1, "\n.It ");
                line = strstr(entry, "\nElsewhere: ");
                if (!line || (end && line > end))
                        test_fail(__FILE__, __LINE__, "%s names nothing elsewhere", f->ours);
                end = strstr(line, ").\n");
                ASSERT_NOT_NULL(end);
                name = strstr(line, f->theirs);
                whose = name ? strchr(name, '(') : NULL;
                if (!whose || whose > end || strncmp(whose + 1, f->whose, strlen(f->whose)) != 0)
                        test_fail(__FILE__,
                                  __LINE__,
                                  "%s does not name %s (%s)",
                                  f->ours,
                                  f->theirs,
                                  f->whose);
        }
}

TEST(the_sample_shows_each_key_with_its_default) {
        _cleanup_(mem_freep) char *sample = NULL;
        char *rest, *line, *section = (char *) "";
        size_t i = 0;

        ASSERT_OK(fs_read_file(SAMPLE, 1 << 20, &sample, NULL));
        for (rest = sample; (line = next_line(&rest));) {
                _cleanup_(mem_freep) char *expected = NULL;
                const char *short_name;

                if (line[0] == '[') {
                        section = line;
                        continue;
                }
                if (line[0] == '\0' || strncmp(line, "# ", 2) == 0 || streq(line, "#"))
                        continue;

                ASSERT_LT(i, config_n_keys);
                short_name = strchr(config_keys[i].name, '.') + 1;
                expected = mem_asprintf("[%.*s]",
                                        (int) (short_name - config_keys[i].name - 1),
                                        config_keys[i].name);
                ASSERT_STREQ(section, expected);
                mem_free(expected);
                expected = mem_asprintf(
                        "#%s=%s",
                        short_name,
                        config_keys[i].type == CONFIG_ADDRESS ? "" : config_keys[i].default_text);
                ASSERT_STREQ(line, expected);
                i++;
        }
        ASSERT_EQ(i, config_n_keys);
}
