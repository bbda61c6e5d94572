/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Packing and unpacking the protobuf headers in bounds: memory comes from base/alloc.h, what a peer
 * sends can make us allocate no more than a fixed multiple of what it sent, and strings hold no
 * NUL.
 *
 *     _cleanup_(message_freep) Drmq__Proto__FetchRequest *q = NULL;
 *     r = message_unpack(&drmq__proto__fetch_request__descriptor, frame.header, (void **) &q);
 */

#include "base/buf.h"
#include "base/bytes.h"
#include "proto/drmq.pb-c.h"

/* Return: 0, and a new message (message_free()); -EBADMSG; -ENOMEM. An empty header is an empty
 * message. */
int message_unpack(const ProtobufCMessageDescriptor *descriptor, struct slice header, void **ret);
/* Takes NULL, returns NULL. For messages from message_unpack() only. */
void *message_free(void *message);
static inline _unused_ void message_freep(void *p) {
        message_free(*(void **) p);
}
/* Appends the packed message to @w. Return: 0; -ENOMEM; -EMSGSIZE over FRAME_HEADER_BYTES_MAX. */
int message_pack(const void *message, struct byte_writer *w);
