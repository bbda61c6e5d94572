/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A request that is a protobuf message and nothing else, and may be made twice: repeated over
 * broken connections and retriable errors, with back-off, until it is answered or its deadline
 * passes. Everything but produce and fetch.
 */

#include "client/session.h"
#include "proto/error.h"

#define CALL_TEXT_MAX 512u

/* The errors of answers say in words; what no answer said is said in the same way. */
struct call;
/* @r: 0 and the unpacked answer without an error, borrowed until return; else negative errno, @text
 *         says why, and
 * @answer is NULL or the answer with its error (topics may have results of their own). */
typedef void (*call_done_t)(
        struct call *c, int r, const char *text, const ProtobufCMessage *answer, void *userdata);

/* Embedded by its owner. */
struct call {
        struct session *session; /* NULL: not under way */
        struct session_request request;
        struct session_watch watch;
        struct io_timer timer; /* back-off or deadline, whichever is next */
        enum frame_type type;
        const ProtobufCMessageDescriptor *answer_descriptor;
        uint8_t *header;
        size_t header_bytes;
        usec_t deadline_usec;
        usec_t retry_usec; /* 0: not waiting */
        usec_t backoff_usec;
        call_done_t on_done;
        void *userdata;
        struct slice body; /* of the answer; borrows, while on_done() runs */
        int error;         /* of the last attempt: what a passed deadline reports */
        char text[CALL_TEXT_MAX];
};

void call_init(struct call *c, call_done_t on_done, void *userdata);
/* Cancels. */
void call_done(struct call *c);
bool call_is_pending(const struct call *c);

/**
 * call_start() - make the call
 * @c:                 not under way
 * @message:           protobuf; borrows until return
 * @answer_descriptor: of the type's answer
 * @deadline_usec:     USEC_INFINITY: none
 *
 * Connects the session where it is not. on_done() comes later, from the loop; it may start the call
 * again.
 *
 * Return: 0; -ENOMEM; -EMSGSIZE.
 */
int call_start(struct call *c,
               struct session *s,
               enum frame_type type,
               const void *message,
               const ProtobufCMessageDescriptor *answer_descriptor,
               usec_t deadline_usec);
/* on_done() is not called. Nothing happens where it is not under way. */
void call_cancel(struct call *c);

/**
 * answer_unpack() - the header of an answer
 * @f:          an answer: of type @type or FRAME_ERROR
 * @descriptor: of the answer to @type
 * @ret:        returns new; message_free(); NULL where the answer is a FRAME_ERROR
 * @ret_code:   enum drmq_error of the answer as a whole
 * @text:       its words, cut where they do not fit
 *
 * Return: 0; -EPROTO this is no answer to that; -ENOMEM.
 */
int answer_unpack(const struct frame *f,
                  enum frame_type type,
                  const ProtobufCMessageDescriptor *descriptor,
                  ProtobufCMessage **ret,
                  uint32_t *ret_code,
                  char text[static CALL_TEXT_MAX]);
