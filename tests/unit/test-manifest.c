/* SPDX-License-Identifier: Apache-2.0 */

/* Tests snapshot/manifest.h: what is written is read back, and nothing else is read. */

#include "snapshot/manifest.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "tests/lib/test.h"

#define LOG_1 "shard-1/00000000000000000001.log"

static void make(struct manifest *m) {
        *m = (struct manifest){
                .name = "nightly",
                .created_ms = 1763640000000,
                .node_id = 3,
                .node_name = "node three",
                .cluster_id = { 1, 2, 3 },
                .incarnation = { 0xff },
                .version = "0.2.0",
                .token = 0xc0ffee,
        };
        ASSERT_OK(manifest_add_shard(
                m,
                &(struct manifest_shard){
                        .shard = 0, .first_index = 1, .last_index = 7, .term = 2 }));
        ASSERT_OK(manifest_add_shard(m,
                                     &(struct manifest_shard){ .shard = 1,
                                                               .first_index = 1,
                                                               .last_index = 90,
                                                               .checkpoint_index = 80,
                                                               .term = 2 }));
        ASSERT_OK(manifest_add_file(m, "shard-0/00000000000000000001.log", 8192));
        ASSERT_OK(manifest_add_file(m, "shard-1/00000000000000000001.idx", 64));
        ASSERT_OK(manifest_add_file(m, LOG_1, 12288));
        ASSERT_OK(manifest_add_file(m, "shard-1/checkpoint-00000000000000000080", 100));
}

/* As text with a NUL behind it; mem_free(). */
static char *text_of(const struct manifest *m) {
        struct byte_writer w;

        byte_writer_init(&w, 0);
        ASSERT_OK(manifest_format(m, &w));
        byte_writer_u8(&w, 0);
        ASSERT_OK(byte_writer_result(&w));
        return (char *) TAKE_PTR(w.data);
}

/* With the checksum of its last line made right. */
static int parse_fixed(const char *text, struct manifest **ret) {
        char fixed[4096], *end;

        ASSERT_LT(strlen(text), sizeof(fixed) - 16);
        strcpy(fixed, text);
        end = strstr(fixed, "\nend ");
        if (end && strlen(fixed) > 9) {
                char crc[16];

                (void) snprintf(
                        crc, sizeof(crc), "%08x\n", crc32c(0, fixed, (size_t) (end + 1 - fixed)));
                memcpy(fixed + strlen(fixed) - 9, crc, 9);
        }
        return manifest_parse(fixed, strlen(fixed), ret, NULL);
}

TEST(what_is_written_is_read_back) {
        struct manifest m, *again;
        char *text, *text_again;

        make(&m);
        for (unsigned i = 0; i < 2; i++) {
                m.has_checksums = i;
                m.files[1].crc = 0xdeadbeef;
                text = text_of(&m);
                ASSERT_OK(manifest_parse(text, strlen(text), &again, NULL));
                ASSERT_EQ(again->n_files, 4);
                ASSERT_EQ(again->n_bytes, 8192 + 64 + 12288 + 100);
                ASSERT_EQ(again->has_checksums, i);
                ASSERT_STREQ(again->node_name, "node?three");
                ASSERT_EQ(again->files[2].kind, MANIFEST_SEGMENT);
                ASSERT_EQ(again->files[1].kind, MANIFEST_INDEX);
                ASSERT_EQ(again->files[3].kind, MANIFEST_CHECKPOINT);
                ASSERT_EQ(again->files[3].index, 80);
                ASSERT_EQ(again->files[3].shard, 1);
                ASSERT_EQ(again->shards[1].checkpoint_index, 80);
                ASSERT_EQ(again->token, 0xc0ffee);
                if (i)
                        ASSERT_EQ(again->files[1].crc, 0xdeadbeef);
                text_again = text_of(again);
                ASSERT_STREQ(text, text_again);
                mem_free(text);
                mem_free(text_again);
                manifest_free(again);
        }
        manifest_done(&m);
}

TEST(no_byte_may_differ) {
        struct manifest m, *again = NULL;
        size_t line;
        char *text;

        make(&m);
        text = text_of(&m);
        for (size_t i = 0, n = strlen(text); i < n; i++) {
                text[i] ^= 1;
                line = 0;
                ASSERT_TRUE(manifest_parse(text, n, &again, &line) < 0);
                ASSERT_GT(line, 0);
                text[i] ^= 1;
                ASSERT_ERROR(manifest_parse(text, i, &again, NULL), EBADMSG);
        }
        ASSERT_OK(manifest_parse(text, strlen(text), &again, NULL));
        mem_free(text);
        manifest_free(again);
        manifest_done(&m);
}

/* Each with a right checksum. */
TEST(only_the_one_form_is_read) {
        static const struct {
                const char *from, *to;
        } changes[] = {
                { "drmq-snapshot 1\n", "drmq-snapshot 0\n" },
                { "drmq-snapshot 1\n", "drmq-snapshot 01\n" },
                { "name nightly", "name .nightly" },
                { "name nightly", "name ../nightly" },
                { "name nightly", "name " },
                { "node 3 ", "node 0 " },
                { "node 3 ", "node  3 " },
                { "created 1", "created +1" },
                { "created 1763640000000", "created 99999999999999999999" },
                { "cluster 0102", "cluster 01G2" },
                { "temporary no", "temporary maybe" },
                { "shard 1 1 90 80 2", "shard 0 1 90 80 2" },
                { "shard 1 1 90 80 2", "shard 1 0 90 80 2" },
                { "shard 1 1 90 80 2", "shard 1 91 90 80 2" },
                { "shard 1 1 90 80 2", "shard 1 1 90 91 2" },
                { "shard 1 1 90 80 2", "shard 1 1 90 80" },
                { "file 64 -", "file 64 0badcafe" },
                { "file 64 -", "file 064 -" },
                { "file 64 -", "file 0 -" },
                { "- " LOG_1, "- /" LOG_1 },
                { "- " LOG_1, "- ../" LOG_1 },
                { "- " LOG_1, "- shard-1/../node" },
                { "- " LOG_1, "- shard-1/hardstate" },
                { "- " LOG_1, "- shard-01/00000000000000000001.log" },
                { "- " LOG_1, "- shard-2/00000000000000000001.log" },
                { "- " LOG_1, "- shard-1/00000000000000000000.log" },
                { "- " LOG_1, "- shard-1/00000000000000000001.log.log" },
                { "- " LOG_1, "- shard-1/99999999999999999999.log" },
                { "- " LOG_1, "- shard-1/00000000000000000001.idx" },
                { "\nend 4 ", "\nend 3 " },
                { "\nend 4 20644 ", "\nend 4 20645 " },
                { "\nend 4 ", "\n\nend 4 " },
                { "version 0.2.0", "version 0.2.0\nversion 0.2.0" },
        };
        struct manifest m, *again = NULL;
        char *text, changed[4096];

        make(&m);
        text = text_of(&m);
        for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
                const char *at = strstr(text, changes[i].from);

                ASSERT_NOT_NULL(at);
                (void) snprintf(changed,
                                sizeof(changed),
                                "%.*s%s%s",
                                (int) (at - text),
                                text,
                                changes[i].to,
                                at + strlen(changes[i].from));
                ASSERT_ERROR(parse_fixed(changed, &again), EBADMSG);
        }

        (void) snprintf(changed, sizeof(changed), "%s\n", text);
        ASSERT_ERROR(manifest_parse(changed, strlen(changed), &again, NULL), EBADMSG);
        ASSERT_OK(parse_fixed(text, &again)); /* so it is the changes that are refused */
        manifest_free(again);
        text[strlen("drmq-snapshot ")] = '2';
        ASSERT_ERROR(parse_fixed(text, &again), EPROTONOSUPPORT);
        mem_free(text);
        manifest_done(&m);
}

TEST(files_come_in_order_and_once) {
        struct manifest m;

        make(&m);
        ASSERT_ERROR(manifest_add_file(&m, "shard-1/checkpoint-00000000000000000080", 1), EBADMSG);
        ASSERT_ERROR(manifest_add_file(&m, LOG_1, 1), EBADMSG);
        ASSERT_ERROR(manifest_add_file(&m, "shard-2/00000000000000000001.log", 1), EBADMSG);
        ASSERT_EQ(m.n_files, 4);
        manifest_done(&m);
}

TEST(names_are_safe_as_file_names) {
        char name[SNAPSHOT_NAME_MAX + 2];

        memset(name, 'x', sizeof(name));
        name[SNAPSHOT_NAME_MAX + 1] = 0;
        ASSERT_FALSE(snapshot_name_is_valid(name));
        name[SNAPSHOT_NAME_MAX] = 0;
        ASSERT_TRUE(snapshot_name_is_valid(name));
        ASSERT_TRUE(snapshot_name_is_valid("2026-11-20.nightly_1"));
        ASSERT_FALSE(snapshot_name_is_valid(""));
        ASSERT_FALSE(snapshot_name_is_valid("."));
        ASSERT_FALSE(snapshot_name_is_valid(".."));
        ASSERT_FALSE(snapshot_name_is_valid("a/b"));
        ASSERT_FALSE(snapshot_name_is_valid("a b"));
}

TEST(memory_may_be_short) {
        FAULT_SWEEP {
                struct manifest *again = NULL,
                                m = { .name = "n", .node_id = 1, .node_name = "n", .version = "1" };
                struct byte_writer w;
                int r;

                byte_writer_init(&w, 0);
                r = manifest_add_shard(
                        &m, &(struct manifest_shard){ .first_index = 1, .last_index = 1 });
                if (r >= 0)
                        r = manifest_add_file(&m, "shard-0/00000000000000000001.log", 1);
                if (r >= 0)
                        r = manifest_format(&m, &w);
                if (r >= 0)
                        r = manifest_parse(w.data, w.size, &again, NULL);
                ASSERT_TRUE(r == 0 || r == -ENOMEM);
                ASSERT_EQ(r == 0, again != NULL);
                manifest_free(again);
                byte_writer_done(&w);
                manifest_done(&m);
        }
}
