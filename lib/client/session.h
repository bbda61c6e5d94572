/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One connection to the cluster, kept up: connects to the addresses of a list in turn, greets,
 * sends requests, pairs answers with them by their correlation, and connects again with jittered
 * back-off when it breaks.
 *
 * A session does not repeat anything: a request whose connection broke ends with -ECONNRESET, and
 * what that means is for its owner to say. Who has something to send watches the session:
 *
 *     watch(SESSION_UP)           it stands: send
 *     watch(SESSION_DOWN)         it broke; all requests have ended; it is being set up again
 *     watch(SESSION_DRAINED)      session_is_full() was true, and is not any more
 *     watch(SESSION_UNREACHABLE)  nobody was ever reached, in SESSION_PATIENCE_USEC of trying
 *
 * Connects when session_connect() is first called; nothing happens before. All callbacks come from
 * the loop, never from within a call into the session; they may call it, but not free it.
 */

#include "base/list.h"
#include "base/map.h"
#include "client/bootstrap.h"
#include "proto/frame.h"
#include "proto/message.h"

#define SESSION_BACKOFF_MIN_USEC (50 * USEC_PER_MSEC)
#define SESSION_BACKOFF_MAX_USEC (2 * USEC_PER_SEC)
/* How long a connection may take to greet, before the next address is tried. */
#define SESSION_GREETING_USEC (5 * USEC_PER_SEC)
/* How long an answer may be outstanding without a byte from the node, before it counts as gone. */
#define SESSION_SILENCE_USEC (20 * USEC_PER_SEC)
/* Until the first connection stands: after that long SESSION_UNREACHABLE is told. Later only
 * deadlines count. */
#define SESSION_PATIENCE_USEC (2 * USEC_PER_SEC)
/* Bytes that wait for the socket: past this the session is full, at or below half of it drained. */
#define SESSION_OUT_BYTES_MAX ((size_t) 4 << 20)

struct session;

enum session_event {
        SESSION_UP,
        SESSION_DOWN,
        SESSION_DRAINED,
        SESSION_UNREACHABLE,
};

/* Embedded by who watches; zero-initialised plus on_event and userdata. */
struct session_watch {
        void (*on_event)(struct session_watch *w, enum session_event event, void *userdata);
        void *userdata;
        struct list link;
};

/* Embedded by its owner, who sets on_done and userdata; the rest is the session's. */
struct session_request {
        /* @r: 0, and the answer, which is borrowed until return (keep its slices by slice_ref());
         *         its type is the
         * request's, or FRAME_ERROR. -ECONNRESET the connection broke: it may have been done. With
         * SESSION_NO_ANSWER: 0 and no answer, all of it is with the socket. */
        void (*on_done)(struct session_request *q,
                        int r,
                        const struct frame *answer,
                        void *userdata);
        void *userdata;

        struct session *session; /* NULL: not under way */
        struct map_node by_correlation;
        struct list link;
        uint64_t correlation;
        uint64_t end_pos; /* SESSION_NO_ANSWER: bytes of this connection when it is written */
        uint16_t type;
        bool has_answer;
};

enum session_flags {
        SESSION_NO_ANSWER = 1 << 0,
};

/**
 * session_new() - a session that is not connected yet
 * @io:        borrows until session_free()
 * @addresses: @n of them; borrows until return
 *
 * Return: 0; -ENOMEM.
 */
int session_new(struct io *io, const struct address *addresses, size_t n, struct session **ret);
/* No request may be under way, and nobody watch. Takes NULL, returns NULL. */
struct session *session_free(struct session *s);
DEFINE_CLEANUP(struct session *, session_free)

void session_watch_add(struct session *s, struct session_watch *w);
/* Nothing happens where it does not watch. */
void session_watch_remove(struct session_watch *w);

/* Begins to connect, where there is neither a connection nor an attempt. From then on the session
 * stays up. */
void session_connect(struct session *s);
/* Requests may be sent. */
bool session_is_up(const struct session *s);
/* No more produce requests for now; small ones always fit. */
bool session_is_full(const struct session *s);
struct io *session_io(const struct session *s);
/* Where it is connected to, or was last; borrows; NULL before the first attempt. */
const struct address *session_address(const struct session *s);
/* Why there is no connection, in words (bootstrap_describe()). Return: a negative errno that says
 * the same. */
int session_describe(const struct session *s, char *dest, size_t n_dest);
/* Connections that stood, in all: more than 1 says that it was set up again. */
uint64_t session_n_connections(const struct session *s);

/**
 * session_send() - send a request
 * @q:      not under way; borrows until on_done() or session_cancel()
 * @flags:  enum session_flags
 * @header: packed; @header, @table: borrows until return
 * @body:   slices; shares
 *
 * Return: 0; -ENOTCONN the session is not up; -EMSGSIZE over REQUEST_BYTES_MAX; -ENOMEM. on_done()
 * is not called then.
 */
int session_send(struct session *s,
                 struct session_request *q,
                 enum frame_type type,
                 unsigned flags,
                 const void *header,
                 size_t header_bytes,
                 const void *table,
                 size_t table_bytes,
                 const struct slice *body,
                 size_t n_body);
/* Its answer is not wanted any more: on_done() is not called. Nothing happens where it is not under
 * way. */
void session_cancel(struct session_request *q);
static inline bool session_request_is_pending(const struct session_request *q) {
        return q->session;
}
