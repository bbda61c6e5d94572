/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The inside of libdrmq's public face, for the files of this folder only: a client is an event loop
 * of its own, a struct io on it, and one session. Blocking calls run that loop until what they wait
 * for has come.
 */

#include <stdatomic.h>
#include <systemd/sd-event.h>

#include "client/call.h"
#include "client/session.h"
#include "drmq.h"
#include "loop/io-loop.h"

#define CLIENT_TIMEOUT_USEC (30 * USEC_PER_SEC)

struct kept {
        struct list link;
        uint8_t data[] __attribute__((aligned(16)));
};

struct drmq_client {
        sd_event *event;
        struct io_loop *loop;
        struct io *io;
        struct session *session;
        usec_t timeout_usec;
        int wake_fd; /* drmq_client_interrupt() writes to it */
        sd_event_source *wake;
        atomic_bool is_interrupted;
        unsigned n_refs; /* the caller's, and one of each producer and consumer */
        struct list producers, consumers;
        bool is_nonblocking;
        bool is_running; /* inside of sd_event_run() */
        /* The caller's loop, where it is attached to one: its sources for our loop's descriptor and
         * deadline. */
        sd_event *outer;
        sd_event_source *outer_io, *outer_time;
        usec_t up_usec;           /* when the session was last seen to be up, or the wait began */
        struct list kept;         /* what the last call handed out */
        struct slice answer_body; /* borrows, while the on_answer() of client_call() runs */
        char text[CALL_TEXT_MAX];
};

void client_say(drmq_client *c, const char *format, ...) _printf_(2, 3);

/* When a call that begins now has to end. */
usec_t client_deadline(const drmq_client *c);
/* Lets the loop wait for, and handle, something once, but not past @deadline_usec. Return: 0;
 * -ETIMEDOUT it has passed; -ECANCELED interrupted; another error of the loop. The last two have
 * been said. */
int client_run(drmq_client *c, usec_t deadline_usec);
/* Lets the loop handle what is at hand. Return: 0; what client_run() returns but -ETIMEDOUT. */
int client_poll(drmq_client *c);
/* Whether this is a callback from within the loop, where nothing may be called. Return: 0;
 * -EDEADLK, said. */
int client_check_idle(drmq_client *c);
/* Whether nobody has been there for as long as a call may take. */
bool client_is_unreachable(const drmq_client *c);
/* A producer or consumer keeps its client. */
drmq_client *client_ref(drmq_client *c);
void client_unref(drmq_client *c);

/* drmq-producer.c, drmq-consumer.c: whether one of them has a ready callback to be called; calls
 * it. After it nothing of the lists is as it was. */
bool producers_have_call(const drmq_client *c);
bool producers_call(drmq_client *c);
bool consumers_have_call(const drmq_client *c);
bool consumers_call(drmq_client *c);
/* Why a call did not end in time: no connection, or no answer. Says it. Return: a negative
 * errno. */
int client_timed_out(drmq_client *c, const char *what);

/* Memory of what a call hands out: until client_forget(). NULL: none. */
void *client_keep(drmq_client *c, size_t n_bytes);
char *client_keep_string(drmq_client *c, const char *s);
void client_forget(drmq_client *c);

/**
 * client_call() - a call, made and waited for
 * @on_answer: its answer, borrowed until return; also one that came with an error (@r < 0). Gives
 *             the result of the call. NULL: that is @r
 *
 * Return: what @on_answer returns; else a negative errno, said.
 */
int client_call(drmq_client *c,
                enum frame_type type,
                const void *message,
                const ProtobufCMessageDescriptor *answer_descriptor,
                int (*on_answer)(int r, const ProtobufCMessage *answer, void *userdata),
                void *userdata);
