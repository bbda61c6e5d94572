/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A socket that others connect to: TCP, or a Unix socket of mode 0660. Where descriptors or memory
 * run out, new connections stay in the kernel's queue until a tenth of a second later.
 */

#include "io/io.h"

struct io_loop;
struct listener;

/* Takes @s; sets its handler and userdata before it wants anything, or closes it. */
typedef void (*listener_accept_t)(struct listener *listener, struct io_stream *s, void *userdata);

/**
 * listener_new() - begin to listen
 * @a: "host:port", port 0 takes a free one; or the path of a Unix socket; borrows until return
 *
 * Of a name's addresses the first that is this machine's is taken. A socket file on which nobody
 * accepts is replaced; anything else that stands at that path is left alone.
 *
 * Return: 0; -EADDRINUSE somebody listens there; -EEXIST the path is no socket; -EADDRNOTAVAIL no
 * address of this machine; -ENXIO the name means nothing; -ENAMETOOLONG; -EACCES, -ENOENT … the
 * folder cannot be used; -ENOMEM.
 */
int listener_new(struct io_loop *l,
                 const struct address *a,
                 listener_accept_t on_accept,
                 void *userdata,
                 struct listener **ret);
/**
 * listener_adopt() - listen on a socket that somebody else has made
 * @fd: takes
 *
 * The file of a Unix socket is not ours, and stays when the listener goes.
 *
 * Return: 0; -ENOTSOCK; -EPROTOTYPE not a stream, or it does not listen; -EAFNOSUPPORT neither TCP
 * nor a Unix socket; -ENOMEM.
 */
int listener_adopt(struct io_loop *l,
                   int fd,
                   listener_accept_t on_accept,
                   void *userdata,
                   struct listener **ret);
/* Removes its socket file, if that is still its own. Takes NULL, returns NULL. Not from within
 * on_accept(). */
struct listener *listener_free(struct listener *listener);
DEFINE_CLEANUP(struct listener *, listener_free)

/* As it is now: "127.0.0.1:9092", "[::1]:9092", "unix:/run/drmq/node1.sock". Borrows. */
const char *listener_name(const struct listener *listener);
/* 0: a Unix socket. */
uint16_t listener_port(const struct listener *listener);
/* Borrows. */
int listener_fd(const struct listener *listener);

/**
 * listener_is_at() - would a connection to this address be ours?
 * @a: borrows; port 0 is any port
 *
 * A listener on all addresses is at each of them. A name is looked up; one that means nothing is no
 * address.
 *
 * Return: 1 yes; 0 no; -ENOMEM.
 */
int listener_is_at(const struct listener *listener, const struct address *a);
