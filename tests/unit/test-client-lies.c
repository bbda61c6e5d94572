/* SPDX-License-Identifier: Apache-2.0 */

/* The consumer against a node that lies in frames that are whole: it is told so, and nothing of what
 * it said is believed. */

#include "batch/builder.h"
#include "client/consumer.h"
#include "tests/unit/test-client-node.h"

#define N_MESSAGES 10u

struct run {
        struct scene scene;
        struct consumer *consumer;
        struct node_topic *topic;
};

static void run_begin(struct run *t, void (*lie)(struct node_said *said)) {
        struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
        struct batch_seal seal = SEAL_INIT;
        struct builder b;
        struct slice s;

        memset(t, 0, sizeof(*t));
        scene_begin(&t->scene, 1);
        t->topic = node_topic_add(&t->scene.node, "t", 2);
        builder_init(&b, 1 << 16, 1 << 20);
        for (unsigned i = 0; i < N_MESSAGES; i++)
                ASSERT_OK(builder_append(&b, NULL, 0, "value", 5, NULL, 0, 1000));
        ASSERT_OK(builder_seal(&b, &seal, &s));
        builder_done(&b);
        (void) node_append(&t->topic->partitions[0], s.data, s.size);
        slice_done(&s);

        config.group = "g";
        config.stop_at_end = true;
        ASSERT_OK(consumer_new(t->scene.session, &config, &t->consumer));
        t->scene.node.lie = lie;
}

static void run_end(struct run *t) {
        t->consumer = consumer_free(t->consumer);
        scene_end(&t->scene);
}

/* Reads all there is. Return: how much; the first error. */
static int run_read(struct run *t) {
        usec_t limit = sim_world_now(t->scene.world) + 100 * USEC_PER_SEC;
        int r, n = 0;

        r = consumer_subscribe(t->consumer, "t", NULL, 0, CONSUMER_FROM_POSITION, 0);
        while (r >= 0 && (r = consumer_subscription_result(t->consumer, "t")) == -EAGAIN) {
                ASSERT_LT(sim_world_now(t->scene.world), limit);
                scene_run(&t->scene, USEC_PER_MSEC);
                r = 0;
        }
        while (r >= 0 && !consumer_is_at_end(t->consumer)) {
                ASSERT_LT(sim_world_now(t->scene.world), limit);
                scene_run(&t->scene, USEC_PER_MSEC);
                r = consumer_take(t->consumer, 100);
                n += r > 0 ? r : 0;
        }
        return r < 0 ? r : n;
}

static void expect_no_sense(void (*lie)(struct node_said *said)) {
        struct run t;

        run_begin(&t, lie);
        ASSERT_ERROR(run_read(&t), EPROTO);
        ASSERT_NOT_NULL(strstr(consumer_error(t.consumer), "makes no sense"));
        run_end(&t);
}

TEST(the_truth_is_read) {
        struct run t;

        run_begin(&t, NULL);
        ASSERT_EQ(run_read(&t), (int) N_MESSAGES);
        run_end(&t);
}

static void lie_name(struct node_said *said) {
        Drmq__Proto__MetadataResponse *m = said->message;

        if (said->type == FRAME_METADATA)
                m->topic[0]->name = (char *) "other";
}

static void lie_no_topic(struct node_said *said) {
        Drmq__Proto__MetadataResponse *m = said->message;

        if (said->type == FRAME_METADATA)
                m->n_topic = 0;
}

static void lie_number(struct node_said *said) {
        Drmq__Proto__MetadataResponse *m = said->message;

        if (said->type == FRAME_METADATA)
                m->topic[0]->partition[1]->number = 1000000;
}

TEST(metadata_of_something_else_makes_no_sense) {
        expect_no_sense(lie_name);
        expect_no_sense(lie_no_topic);
        expect_no_sense(lie_number);
}

static void lie_fewer_positions(struct node_said *said) {
        Drmq__Proto__PositionFetchResponse *m = said->message;

        if (said->type == FRAME_POSITION_FETCH)
                m->n_position = 1;
}

static void lie_position_id(struct node_said *said) {
        Drmq__Proto__PositionFetchResponse *m = said->message;

        if (said->type == FRAME_POSITION_FETCH)
                m->position[1]->partition_id += 1000;
}

TEST(positions_of_something_else_make_no_sense) {
        expect_no_sense(lie_fewer_positions);
        expect_no_sense(lie_position_id);
}

static void lie_fewer_offsets(struct node_said *said) {
        Drmq__Proto__OffsetsResponse *m = said->message;

        if (said->type == FRAME_OFFSETS)
                m->n_answer--;
}

static void lie_offset_id(struct node_said *said) {
        Drmq__Proto__OffsetsResponse *m = said->message;

        if (said->type == FRAME_OFFSETS)
                m->answer[0]->partition_id += 1000;
}

static void lie_end_before_beginning(struct node_said *said) {
        Drmq__Proto__OffsetsResponse *m = said->message;

        if (said->type == FRAME_OFFSETS)
                m->answer[0]->offset = m->answer[1]->offset + 1;
}

TEST(offsets_of_something_else_make_no_sense) {
        expect_no_sense(lie_fewer_offsets);
        expect_no_sense(lie_offset_id);
        expect_no_sense(lie_end_before_beginning);
}

/* The first row of a fetch that brought something. */
static struct fetch_slice *fetched_row(struct node_said *said) {
        return said->type == FRAME_FETCH && said->table_bytes > 0 ? (void *) said->table : NULL;
}

static void lie_row(struct node_said *said) {
        static uint8_t longer[sizeof(struct fetch_slice) + 1];

        if (!fetched_row(said))
                return;
        memcpy(longer, said->table, sizeof(struct fetch_slice));
        said->table = longer;
        said->table_bytes = sizeof(longer);
}

static void lie_longer_batch(struct node_said *said) {
        struct fetch_slice *row = fetched_row(said);

        if (row)
                row->batch_bytes = le32_of(UINT32_MAX);
}

static void lie_shorter_body(struct node_said *said) {
        if (fetched_row(said))
                said->n_body = 0;
}

static void lie_more_body(struct node_said *said) {
        static struct slice twice[2];

        if (!fetched_row(said))
                return;
        twice[0] = twice[1] = said->body[0];
        said->body = twice;
        said->n_body = 2;
}

static void lie_offset(struct node_said *said) {
        struct fetch_slice *row = fetched_row(said);

        if (row)
                row->base_offset = le64_of(5);
}

TEST(tables_that_do_not_fit_what_was_fetched_make_no_sense) {
        expect_no_sense(lie_row);
        expect_no_sense(lie_longer_batch);
        expect_no_sense(lie_shorter_body);
        expect_no_sense(lie_more_body);
        expect_no_sense(lie_offset);
}

static void lie_no_error(struct node_said *said) {
        static Drmq__Proto__ErrorResponse m = DRMQ__PROTO__ERROR_RESPONSE__INIT;

        if (said->type != FRAME_METADATA)
                return;
        said->type = FRAME_ERROR;
        said->message = &m;
}

TEST(an_error_without_one_makes_no_sense) {
        expect_no_sense(lie_no_error);
}

static unsigned n_lies;

static void lie_request(struct node_said *said) {
        if (said->type == FRAME_OFFSETS && n_lies++ == 0)
                said->flags = 0;
}

static void lie_type(struct node_said *said) {
        if (said->type == FRAME_OFFSETS && n_lies++ == 0)
                said->type = FRAME_POSITION_FETCH;
}

static void lie_correlation(struct node_said *said) {
        if (said->type == FRAME_OFFSETS && n_lies++ == 0)
                said->correlation += 1000;
}

static void expect_new_connection(void (*lie)(struct node_said *said)) {
        struct run t;

        n_lies = 0;
        run_begin(&t, lie);
        ASSERT_EQ(run_read(&t), (int) N_MESSAGES);
        ASSERT_GT(n_lies, 1);
        ASSERT_EQ(session_n_connections(t.scene.session), 2);
        run_end(&t);
}

TEST(who_breaks_the_rules_is_left_and_all_is_asked_again) {
        expect_new_connection(lie_request);
        expect_new_connection(lie_type);
        expect_new_connection(lie_correlation);
}

static void lie_out_of_range(struct node_said *said) {
        static Drmq__Proto__FetchPartition p = DRMQ__PROTO__FETCH_PARTITION__INIT;
        static Drmq__Proto__FetchPartition *pointers[] = { &p };
        static Drmq__Proto__Error e = DRMQ__PROTO__ERROR__INIT;
        Drmq__Proto__FetchResponse *m = said->message;
        struct fetch_slice *row = fetched_row(said);

        if (!row)
                return;
        e.code = DRMQ_ERROR_OFFSET_OUT_OF_RANGE;
        p.error = &e;
        p.partition_id = le64_get(row->partition_id);
        m->partition = pointers;
        m->n_partition = 1;
        said->table_bytes = said->n_body = 0;
        n_lies++;
}

TEST(a_beginning_that_is_never_there_is_not_asked_for_without_a_pause) {
        struct consumer_config config = CONSUMER_CONFIG_DEFAULT;
        struct run t;

        n_lies = 0;
        run_begin(&t, lie_out_of_range);
        consumer_free(t.consumer);
        config.out_of_range = CONSUMER_OUT_OF_RANGE_BEGINNING;
        ASSERT_OK(consumer_new(t.scene.session, &config, &t.consumer));
        ASSERT_OK(consumer_subscribe(t.consumer, "t", NULL, 0, CONSUMER_FROM_BEGINNING, 0));
        scene_run(&t.scene, 10 * USEC_PER_SEC);
        ASSERT_EQ(consumer_take(t.consumer, 100), 0);
        ASSERT_GT(n_lies, 10);
        ASSERT_LT(n_lies, 100);
        t.scene.node.lie = NULL;
        scene_run(&t.scene, USEC_PER_SEC);
        ASSERT_EQ(consumer_take(t.consumer, 100), (int) N_MESSAGES);
        run_end(&t);
}
