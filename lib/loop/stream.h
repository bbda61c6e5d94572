/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * struct io_stream over sockets: TCP (without delay) and Unix. Level-triggered; never a SIGPIPE.
 * What a broken stream's io_stream_read() returned it returns again. A handler may close its own
 * stream, or any other.
 *
 * A host's name is looked up on a thread, and its addresses are tried one after the other: the next
 * one when one is refused, or after STREAM_NEXT_ADDRESS_USEC. A name that means nothing is -ENXIO.
 */

#include "io/io.h"

struct io_loop;

#define STREAM_NEXT_ADDRESS_USEC (3 * USEC_PER_SEC)

/**
 * stream_adopt() - make a stream of a connected socket
 * @fd: takes on success; made non-blocking
 *
 * The handler may be set later (s->handler, s->userdata), before anything is wanted.
 *
 * Return: 0; -ENOMEM; -ENOTSOCK.
 */
int stream_adopt(struct io_loop *l,
                 int fd,
                 io_stream_handler_t handler,
                 void *userdata,
                 struct io_stream **ret);

/* The operations of struct io, for io-loop.c. */
int stream_connect(struct io *io,
                   const struct address *a,
                   io_stream_handler_t handler,
                   void *userdata,
                   struct io_stream **ret);
ssize_t stream_read(struct io_stream *stream, void *p, size_t n);
ssize_t stream_writev(struct io_stream *stream, const struct iovec *iov, size_t n_iov);
void stream_want(struct io_stream *stream, unsigned events);
void stream_finish(struct io_stream *stream);
void stream_close(struct io_stream *stream);
/* Calls the handlers of connections that failed, as long as they want to hear of it. */
void stream_tell_broken(struct io_loop *l);
/* The part of struct io_loop that is the streams': their epoll, and its source. Return: 0; -EMFILE;
 * -ENOMEM; stream_loop_done() in any case. */
int stream_loop_init(struct io_loop *l);
/* Frees also what lookups left that did not come to their end; their threads are gone. */
void stream_loop_done(struct io_loop *l);
