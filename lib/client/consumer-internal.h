/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The inside of the consumer, for the files of this folder named consumer-… only. A `subscription`
 * resolves a topic; a `source` is a partition that is read; a `chunk` is a batch that has been
 * fetched and verified; a `fetch` is a request under way.
 *
 *  I1  A source is in one of three places: `idle` (may be fetched), `delayed` (after a while), or
 *      in none, because it is being fetched, rests, or has ended. A fetch names each of its
 *      sources, and each of them names it.
 *  I2  position <= offset of what its chunks still hold < fetch_offset.
 *  I3  What was handed out by the last take stays: chunks that are done with wait in `spent` until
 *      the next one.
 *  I4  buffered_bytes is the sum of all chunks that are not spent.
 *  I5  Nothing of an answer is used that was not checked: sizes against the body, partitions
 *      against what was asked for, batches by their checksum, offsets against where the source
 *      stands.
 *  I6  A source is in `ready` if and only if it has chunks and is not paused.
 */

#include "base/map.h"
#include "base/parse.h"
#include "client/consumer.h"

struct source;
struct subscription;

struct chunk {
        struct list link;
        struct source *source;
        struct slice bytes;
        struct batch_view view;
        struct batch_iterator iterator;
        bool has_iterator;
        int64_t expires_at_ms;
};

struct fetch {
        struct list link;
        struct session_request request;
        struct consumer *consumer;
        size_t n;
        struct source *sources[]; /* NULL: it is not wanted for this one any more */
};

struct source {
        struct list link;     /* consumer->sources */
        struct list of_topic; /* subscription->sources */
        struct list in_state; /* idle or delayed (I1) */
        struct list in_ready; /* it has chunks */
        struct list in_taken; /* the last take handed something of it out */
        struct subscription *subscription;
        uint32_t number;
        uint64_t id;
        uint64_t position;        /* next to be handed out */
        uint64_t position_before; /* the same before the last take */
        uint64_t committed;
        uint64_t fetch_offset;
        uint64_t end_offset;
        uint64_t
                resume_offset; /* where to go on after `error` has been told; UINT64_MAX: nowhere */
        struct fetch *fetch;
        size_t slot;
        struct list chunks;
        size_t buffered_bytes;
        /* it begins here because that was the first there is, and goes with it as long as nothing
         * has been handed out; UINT64_MAX: it begins where it was told to */
        uint64_t begin_offset;
        bool is_resolved;
        bool has_end;
        bool has_ended;
        bool is_resting;
        bool is_paused;
        int error; /* to be told */
        char *text;
};

enum subscription_state {
        SUBSCRIPTION_METADATA,
        SUBSCRIPTION_WAITING, /* for a topic that does not exist */
        SUBSCRIPTION_POSITIONS,
        SUBSCRIPTION_OFFSETS,
        SUBSCRIPTION_READING,
        SUBSCRIPTION_FAILED,
};

struct subscription {
        struct list link;
        struct map_node by_topic; /* consumer->topics, as long as it is in the list */
        struct list sources;
        struct consumer *consumer;
        char *topic;
        uint32_t *wanted; /* NULL: all */
        size_t n_wanted;
        enum consumer_from from;
        int64_t value;
        enum subscription_state state;
        bool was_read; /* has been READING: what comes now are later partitions */
        bool is_told;  /* its result was asked for, and was not an error */
        struct call call;
        struct io_timer timer;
        struct source **resolving; /* of the call under way */
        size_t n_resolving;
        uint64_t *positions; /* of those; UINT64_MAX: none */
        int error;
        char text[CALL_TEXT_MAX];
};

struct consumer {
        struct session *session;
        struct io *io;
        struct consumer_config config;
        char *group;
        struct session_watch watch;
        struct list subscriptions;
        struct map topics;
        struct list sources;
        struct list idle, delayed, ready, taken;
        struct list spent;
        struct list retired; /* subscriptions whose names what was handed out still borrows */
        struct list fetches;
        unsigned n_fetches;
        usec_t round_usec; /* when the fetches under way come back, if nothing comes */
        struct io_timer delay_timer;
        size_t buffered_bytes;
        struct consumer_message *messages;
        size_t n_messages, n_messages_allocated;
        bool has_released;
        struct codec_context *codec;
        struct call commit;
        struct source **committing; /* NULL: it has gone meanwhile */
        uint64_t *commit_offsets;
        size_t n_committing;
        int commit_result;
        struct io_timer commit_timer; /* the next automatic one */
        usec_t commit_due_usec;       /* when that is */
        usec_t committed_usec;        /* when the last one began */
        bool is_commit_told;          /* by consumer_take(), where it fails */
        int commit_error;             /* to be told */
        char commit_text[CALL_TEXT_MAX];
        size_t n_errors;  /* sources that have one to tell */
        size_t n_failed;  /* subscriptions whose failure is to be told by consumer_take() */
        bool is_end_told; /* the last take had nothing but the end to say */
        int last_error;   /* told; told again where nothing is left to be read */
        char text[CALL_TEXT_MAX];
};

/* The words of consumer_error(). */
void consumer_say(struct consumer *k, const char *format, ...) _printf_(2, 3);

/* consumer-source.c: partitions, and the chunks of them. */

struct source *source_new(struct subscription *sub, uint32_t number, uint64_t id);
void source_free(struct source *s);
/* NULL: there is none. */
struct source *source_find(const struct consumer *k, const char *topic, uint32_t number);
/* Reads from @offset on; what was fetched of it is of no use. */
void source_start(struct source *s, uint64_t offset);
/* Puts it where it belongs (I1). */
void source_place(struct source *s);
void source_delay(struct source *s);
void source_leave_fetch(struct source *s);
/* Puts it into `ready`, or takes it out (I6). */
void source_set_ready(struct source *s);
/* Not there: @offset. Where that is no error it goes on from somewhere else. */
void source_on_out_of_range(struct source *s, uint64_t offset, uint64_t begin, uint64_t end);
/* A batch that ends at @offset is done with. */
void source_pass(struct source *s, uint64_t offset);
/* It rests. @resume_offset: where to go on when that has been told; UINT64_MAX: nowhere. */
void source_fail(struct source *s, int error, uint64_t resume_offset, const char *format, ...)
        _printf_(4, 5);
void source_clear_error(struct source *s);
void source_drop_chunks(struct source *s);

/* Hands out of one chunk, up to @n_max messages in all. Return: 1 it is used up; 0 more is in it;
 * negative: it is bad. */
int chunk_take(struct chunk *c, size_t n_max);
/* Done with, but what it held may have been handed out (I3). */
void chunk_spend(struct chunk *c);
void chunk_free(struct chunk *c);

/* consumer-subscription.c: from topics to partitions and offsets. */

int subscription_compare_topic(const void *key, const struct map_node *n);

/* Begins to resolve it. Return: 0; -ENOMEM. */
int subscription_new(struct consumer *k,
                     const char *topic,
                     const uint32_t *partitions,
                     size_t n,
                     enum consumer_from from,
                     int64_t value);
void subscription_free(struct subscription *s);
struct subscription *subscription_find(const struct consumer *k, const char *topic);
/* Are its partitions still what they were? Nothing happens where something is being asked
 * already. */
void subscription_ask_metadata(struct subscription *s);

/* consumer-fetch.c: requests. */

/* Asks for all that may be asked for, in one request. */
void consumer_pump(struct consumer *k);
void consumer_drop_fetches(struct consumer *k);

/* consumer-commit.c: positions. */

void consumer_init_commit(struct consumer *k);
void consumer_drop_commit(struct consumer *k);
/* Positions have moved: an automatic commit is due some time. */
void consumer_plan_commit(struct consumer *k);
void consumer_forget_commit_of(struct source *s);
