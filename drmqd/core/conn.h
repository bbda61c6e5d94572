/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One client's connection: bytes in, requests out, answers back. Requests are pipelined; each gets
 * one answer, in any order, by its correlation.
 *
 * What bounds it: a frame's length is charged to the broker's request budget before it is received,
 * and stays charged until it is answered; past the budget, past requests_per_connection requests
 * under way, or while connection_out_bytes wait to be written (struct broker_config), the
 * connection is not read. A frame that is small, or came with one read, is charged to a budget of
 * its own when it is whole, so that neither many small requests nor few large ones keep the others
 * out; buffers that keep parts of such frames shrink to what they hold where there are many.
 * Half a frame that makes no progress for the idle time, one that takes longer than that and a
 * second for each FRAME_BYTES_PER_SEC of it, a missing greeting, and answers of which
 * nothing is taken for so long end it: for a tenth of that where fetches wait for the budget that
 * they hold. Idle otherwise costs nothing and is allowed.
 */

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "drmqd/core/metrics.h"
#include "io/io.h"
#include "proto/error.h"
#include "proto/frame.h"

struct broker;
struct conn;

/* Who sends a frame more slowly than this may not finish it. */
#define FRAME_BYTES_PER_SEC (UINT64_C(16) << 10)
/* Receive buffers shrink to what is in them past so much, in all. */
#define HELD_BYTES_MAX (UINT32_C(16) << 20)

struct request {
        struct list link;  /* conn.requests */
        struct conn *conn; /* NULL: the client is gone */
        struct broker *broker;
        uint64_t correlation;
        uint16_t type;
        struct frame frame;
        struct budget *budget; /* requests, or small_requests */
        size_t charged_bytes;
        usec_t begun_usec; /* when it was whole: for metrics */
        /* Called when the client is gone, for what waits long; may answer the request. */
        void (*on_gone)(struct request *r);
        void *userdata;
};

enum http_stage {
        HTTP_NONE,     /* frames, or nobody knows yet */
        HTTP_ASKING,   /* the head of a request is arriving */
        HTTP_ANSWERED, /* the answer is on its way; what else arrives is dropped */
        HTTP_FINISHED, /* it is out: the client's end is awaited */
};

struct conn {
        struct list link;    /* broker.conns */
        struct list dirty;   /* broker.dirty_conns: something is to be written, or read on */
        struct list paused;  /* broker.paused_conns, or .paused_small_conns */
        struct list fetches; /* fetches whose turn has not come (fetch.c) */
        bool is_fetching;    /* one of this connection's fetches is being read */
        struct list requests;
        size_t n_requests;
        struct broker *broker;
        struct io_stream *stream;
        struct frame_reader in;
        struct frame_queue out;
        struct io_timer idle;
        usec_t begun_usec; /* when the frame that is arriving began; 0: none is */
        struct io_timer unread;
        usec_t unread_usec;    /* since when nothing is taken of what waits to be sent */
        size_t charged_bytes;  /* for the frame that is arriving */
        size_t held_bytes;     /* of broker.held_bytes */
        size_t fetched_bytes;  /* of the fetch budget, in out */
        size_t answered_bytes; /* of the answer budget, in out */
        unsigned wanted;       /* stream events */
        enum http_stage http;
        size_t n_rest;  /* of what an HTTP client sent, with its request */
        bool has_ended; /* an HTTP client sends no more; its answer is not out yet */
        bool is_greeted;
        enum conn_end end; /* why, where is_closing */
        bool is_closing;   /* freed once nothing of this connection is on the call stack */
        bool is_blocked;   /* the socket takes no more for now */
        bool has_unread;   /* answers wait for it: the timer runs */
        struct map hints;  /* where this client's fetches ended, by partition (fetch.c) */
        struct list hints_by_age;
};

int conn_new(struct broker *b, struct io_stream *stream, struct conn **ret);
/* Lets the requests under way go on without it. */
struct conn *conn_free(struct conn *c);
/* Writes, reads on, or frees: called at the end of every event for the connections that it
 * touched. */
void conn_settle(struct conn *c);
/* Marks for conn_settle(). */
void conn_touch(struct conn *c);
/* Charges what it waits for, where there is room, and reads on. Return: whether there was. */
bool conn_resume(struct conn *c);
/* There is room for small requests again. */
void conn_resume_small(struct conn *c);

/**
 * request_answer() - answer and free
 * @message: protobuf message; @table, @body: as frame_queue_push()
 */
void request_answer(struct request *r,
                    const void *message,
                    const void *table,
                    size_t table_bytes,
                    const struct slice *body,
                    size_t n_body);
/* Answers by an error of the whole request and frees. */
void request_fail(struct request *r, enum drmq_error code, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* From now on the request takes so much of the budget: its frame is gone, or what stands for it is
 * larger. */
void request_recharge(struct request *r, size_t n_bytes);
/* Frees without an answer (acks none). */
void request_drop(struct request *r);
