/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The inside of the producer, for the files of this folder named producer-… only. A topic is a
 * `route` with a `lane` for each partition; a lane holds batches in the order of their sequences,
 * oldest first; a `transfer` is a produce request under way.
 *
 *  I1  lane->batches: ENDED, SENT and READY in any mixture as answers come, but what is READY goes
 *      out in order, and nothing goes out behind a batch that came back (is_rewinding) until
 *      everything that is out has come back.
 *  I2  lane->n_sent is the number of its batches that are SENT; each of them, and no other, has a
 *      transfer.
 *  I3  Deliveries of a lane happen in the order of its batches: only the first one ends.
 *  I4  A lane is in `delayed`, or in `ready` if and only if lane_has_work().
 *  I5  A batch that was in doubt is never sent under another id.
 *  I6  charged_bytes is the sum over all batches of what each holds; of open ones, of their
 *      builders' sizes.
 *  I7  Atomic: one transfer at a time, with all batches; they end together.
 */

#include "batch/builder.h"
#include "client/producer.h"
#include "proto/table.h"

/* A batch fills a request with its own prelude, header and row. */
#define PRODUCER_BATCH_BYTES_MAX ((size_t) REQUEST_BYTES_MAX - 4096)
#define PRODUCER_EXPIRY_USEC USEC_PER_SEC

struct transfer;
struct lane;

enum batch_state {
        BATCH_OPEN,  /* its messages are in the lane's builder */
        BATCH_READY, /* to be sent, or sent again */
        BATCH_SENT,
        BATCH_ENDED, /* waits for those before it */
};

struct pending_batch {
        struct list link; /* lane->batches, but not while OPEN */
        struct lane *lane;
        enum batch_state state;
        struct transfer *transfer;
        size_t slot;
        struct slice bytes;
        size_t charged_bytes;
        int32_t sequence;
        uint32_t n_messages;
        uint64_t n_bytes;
        uint64_t *tags;
        size_t n_tags_allocated;
        usec_t open_usec;
        usec_t deadline_usec;
        bool in_doubt; /* it went out, and what came of it is not known (I5) */
        bool was_sent;
        /* ENDED */
        int error;
        char *text;
        uint64_t base_offset;
};

/* What each message touches stands first, in as few cache lines as can be: with thousands of lanes
 * that is what a message costs. */
struct lane {
        struct route *route;
        struct pending_batch *open;
        struct builder builder;
        uint64_t open_bytes; /* keys, values and headers in it */
        bool is_due;         /* the open batch need not wait any longer */
        bool is_delayed;     /* in ->delayed */
        bool is_rewinding;   /* I1 */
        bool needs_id;       /* its sequence has a gap */
        bool is_introduced;  /* the node has a batch of this id */
        uint32_t number;
        uint64_t id;
        struct list all;      /* producer->lanes */
        struct list in_open;  /* producer->open, from the opening until it has lingered */
        struct list in_queue; /* producer->ready, or ->delayed where is_delayed */
        struct list batches;
        unsigned n_ready, n_sent, n_ended;
        int64_t producer_id;
        int32_t next_sequence;
        usec_t used_usec;
        int error; /* the last one that may pass */
        char *text;
};

enum route_state {
        ROUTE_UNKNOWN,
        ROUTE_KNOWN,
        ROUTE_FAILED, /* told once, then UNKNOWN again */
};

struct route {
        struct lane **lanes; /* &only_lane where there is one */
        struct lane *only_lane;
        uint32_t n_lanes;
        uint32_t turn; /* which lane takes what has no key */
        enum route_state state;
        int error;
        struct producer *producer;
        struct call *call; /* while it is being asked for */
        usec_t asked_usec;
        char name[];
};

/* Where to find a route; the hash comes along, so that others need not be looked at. */
struct route_slot {
        uint32_t hash;
        struct route *route; /* NULL: free */
};

struct transfer {
        struct list link;
        struct session_request request;
        struct producer *producer;
        size_t n;
        struct lane **touched;           /* room for n */
        struct pending_batch *batches[]; /* NULL: ended meanwhile */
};

struct producer {
        struct session *session;
        struct io *io;
        struct producer_config config;
        struct session_watch watch;
        struct route_slot *routes; /* open addressing; at most half full */
        size_t n_slots, n_routes;  /* n_slots: a power of two, or 0 */
        struct route *last_route;
        struct route *waiting_route; /* why producer_append() said -EAGAIN */
        struct list lanes;
        struct list open;
        struct list ready;
        struct list delayed;
        struct list transfers;
        size_t n_transfers, n_out; /* batches in them */
        struct io_timer linger_timer, retry_timer, expiry_timer;
        usec_t backoff_usec;
        unsigned in_flight_max;
        size_t charged_bytes;
        size_t builder_bytes_max;
        size_t n_open; /* open batches */
        bool is_blocked;
        bool is_flushing; /* atomic: what is there may go */
        int unit_error;   /* atomic: it failed before its flush */
        int64_t producer_id;
        struct pending_batch *last; /* where the last message went; NULL: it has ended */
        uint32_t last_number;       /* which of its messages that is */
        struct pending_batch *watched;
        uint32_t watched_number;
        struct producer_outcome *outcome; /* of that message */
        struct codec_context *codec;
        struct producer_sums sums;
        char text[CALL_TEXT_MAX];
        /* Scratch of transfer_new(). */
        struct pending_batch **gathered;
        size_t n_gathered_allocated;
        struct produce_slice *rows;
        size_t n_rows_allocated;
        struct slice *slices;
        size_t n_slices_allocated;
};

/* The words of producer_error(). */
void producer_say(struct producer *p, const char *format, ...) _printf_(2, 3);

/* producer-lane.c: batches and what becomes of them. What ends or returns a batch is followed by
 * lane_settle(), in an atomic producer by producer_settle_all(). */

struct lane *lane_new(struct route *route, uint32_t number, uint64_t id);
/* What it holds is dropped. Takes NULL, returns NULL. */
struct lane *lane_free(struct lane *lane);
/* Its partition is not there any more: fails what it holds, and frees. */
struct lane *lane_dismiss(struct lane *lane, int error, const char *text);
/* Return: 0; what builder_append() and a lack of memory say, nothing taken then. */
int lane_append(struct lane *lane, const struct producer_message *m, uint64_t n_bytes);
/* The open batch becomes READY. Return: 0; -ENOMEM, it stays open. */
int lane_seal(struct lane *lane);
/* The open batch need not linger: it goes with the next transfer that has room. */
void lane_set_due(struct lane *lane);
/* Whether a batch of it could go out now. */
bool lane_has_work(const struct lane *lane);
/* The one that goes next, where one is READY. */
struct pending_batch *lane_next_batch(struct lane *lane);
/* Puts it where it belongs (I4). */
void lane_enqueue(struct lane *lane);
/* Lets it rest for a while. */
void lane_delay(struct lane *lane);
/* What follows from outcomes: deliveries, another id, the next batches. */
void lane_settle(struct lane *lane);
void producer_settle_all(struct producer *p);
int64_t producer_new_id(struct producer *p);

void batch_succeed(struct pending_batch *b, uint64_t base_offset);
/* In an atomic producer all others with it (I7). */
void batch_fail(struct pending_batch *b, int error, const char *text);
/* It has to go out again. */
void batch_return(struct pending_batch *b, bool in_doubt);
/* None before it is still under way. */
bool batch_is_first(const struct pending_batch *b);

/* producer-route.c: topics, and what their partitions are. */

/* Borrows. Return: 0; -EINVAL no valid name; -ENOMEM. */
int route_get(struct producer *p, const char *name, struct route **ret);
struct route *route_free(struct route *route);
/* Asks for its partitions (anew); nothing happens where that is under way. Return: 0; -ENOMEM. */
int route_ask(struct route *route, bool create);
/* Why it takes no messages now. Return: -EAGAIN it is being asked for; the error of the last time,
 * which is told once. */
int route_refuse(struct route *route);

/* producer-transfer.c: requests. */

/* Sends what may be sent. */
void producer_pump(struct producer *p);
void transfer_free(struct transfer *t);
