/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A broker on a simulated disk, and clients that speak raw frames to it over the simulated network,
 * for the tests of drmqd/core. What goes wrong on the way fails the test; time is the world's, so
 * that waiting costs nothing.
 */

#include "base/list.h"
#include "base/trace.h"
#include "batch/builder.h"
#include "drmqd/core/broker.h"
#include "proto/drmq.pb-c.h"
#include "proto/error.h"
#include "proto/frame.h"
#include "proto/table.h"
#include "tests/sim/world.h"

#define BROKER_FIXTURE_DIR "/data"
/* What should come, comes within this. */
#define BROKER_FIXTURE_WAIT_USEC (20 * USEC_PER_SEC)

struct broker_fixture {
        struct sim_trace trace;
        struct sim_world *world;
        struct sim_disk *disk;
        struct broker_config config; /* may be changed before a start */
        struct tracer tracer;

        struct sim_process *process; /* NULL: it is down */
        struct broker *broker;
        unsigned n_ready;
        unsigned n_stopped;
        unsigned n_fatal;
        int fatal;
        int accepted;       /* result of the last broker_accept() */
        unsigned n_damaged; /* traces that speak of damage */
};

/* An empty disk; nothing runs. Small segments, a fast network, no streams that break by
 * themselves. */
void broker_fixture_init(struct broker_fixture *f, uint64_t seed);
void broker_fixture_done(struct broker_fixture *f);

/* Recovers. Return: as broker_new(). */
int broker_fixture_open(struct broker_fixture *f);
/* Recovers, starts, and runs until it is ready. */
void broker_fixture_start(struct broker_fixture *f);
/* The process is killed, as it is; with a power cut the disk forgets what was not synced. */
void broker_fixture_end(struct broker_fixture *f, bool power_cut);
/* Stops in good order, runs until it has, and ends the process. */
void broker_fixture_stop(struct broker_fixture *f);
/* Lets so much time pass. */
void broker_fixture_run(struct broker_fixture *f, usec_t usec);

struct broker_client {
        struct broker_fixture *fixture;
        struct sim_process *process;
        struct io_stream *stream; /* NULL: closed, by whichever side */
        struct frame_reader in;
        uint8_t *bytes; /* to be sent */
        size_t n_bytes, n_allocated, n_sent;
        size_t n_held; /* behind n_bytes: not to be sent yet */
        struct list replies;
        uint64_t correlation; /* of the last request */
        size_t n_received;
        bool is_deaf; /* reads nothing */
        /* keeps what it receives as bytes, without base/alloc.h: for sweeps of failing
         * allocations */
        bool is_raw;
        uint8_t *raw;
        size_t n_raw;
        bool is_greeted; /* the greeting is behind it */
        bool has_ended;  /* the broker closed, or the stream broke */
        uint8_t greeting[GREETING_BYTES];
};

struct broker_reply {
        struct list link;
        struct frame frame;
};

/* Connects, and does not speak. */
void broker_client_dial(struct broker_client *c, struct broker_fixture *f);
/* Connects and greets, and has been answered. */
void broker_client_connect(struct broker_client *c, struct broker_fixture *f);
/* The client's process ends. */
void broker_client_end(struct broker_client *c);

/* Plain bytes. */
void broker_client_bytes(struct broker_client *c, const void *p, size_t n);
/* Keeps back the last @n bytes of what was to be sent and has not been; broker_client_release()
 * lets them go. */
void broker_client_hold(struct broker_client *c, size_t n);
void broker_client_release(struct broker_client *c);
/* A request with a correlation of its own. Return: which. */
uint64_t broker_client_send(struct broker_client *c,
                            uint16_t type,
                            const void *message,
                            const void *table,
                            size_t table_bytes,
                            const struct slice *body,
                            size_t n_body);
/* From now on it is no longer raw: makes replies of what it received. */
void broker_client_cook(struct broker_client *c);
/* The answer that is there; NULL: none. The caller's: broker_reply_free(). */
struct broker_reply *broker_client_take(struct broker_client *c, uint64_t correlation);
/* Waits for it. */
struct broker_reply *broker_client_wait(struct broker_client *c, uint64_t correlation);
/* Waits until the broker has closed the connection. Return: whether it does, within so much
 * time. */
bool broker_client_wait_end(struct broker_client *c, usec_t usec);
struct broker_reply *broker_reply_free(struct broker_reply *r);
DEFINE_CLEANUP(struct broker_reply *, broker_reply_free)

/* Of a whole request: DRMQ_ERROR_NONE where the answer is not FRAME_ERROR. */
enum drmq_error broker_reply_error(const struct broker_reply *r);
/* The header; message_free(). Fails the test where the answer is an error. */
void *broker_reply_message(const struct broker_reply *r,
                           uint16_t type,
                           const ProtobufCMessageDescriptor *descriptor);

/* ---- Requests of every day: send, wait, look ---- */

/* Creates a topic. Return: the id of its partition 0; others follow. */
uint64_t broker_client_topic(struct broker_client *c, const char *name, uint32_t n_partitions);
enum drmq_error broker_client_delete(struct broker_client *c, const char *name);

/* Returns new batch of @n_records of @value_bytes each. @producer_id -1: none. */
struct slice broker_batch(int64_t producer_id,
                          int16_t epoch,
                          int32_t sequence,
                          unsigned n_records,
                          size_t value_bytes);

struct broker_produce {
        uint64_t partition_id;
        struct slice batch; /* takes */
};
uint64_t broker_client_send_produce(struct broker_client *c,
                                    const struct broker_produce *p,
                                    size_t n,
                                    bool atomic);
/* One plain batch of @n_records. Return: its base offset. */
uint64_t broker_client_produce(struct broker_client *c,
                               uint64_t partition_id,
                               unsigned n_records,
                               size_t value_bytes);
/* Result @i of an answer to produce. */
const struct produce_result *broker_reply_result(const struct broker_reply *r, size_t i);
/* Sends one batch, waits. Return: the error of its result, or of the request; @ret_offset may be
 * NULL. */
enum drmq_error broker_client_try(struct broker_client *c,
                                  uint64_t partition_id,
                                  struct slice batch,
                                  uint64_t *ret_offset);

uint64_t broker_client_send_fetch(struct broker_client *c,
                                  uint64_t partition_id,
                                  uint64_t offset,
                                  uint32_t wait_ms,
                                  uint32_t max_bytes);
/* Batches, and messages in them, of an answer; each batch is verified, and offsets must go on from
 * @offset. */
uint64_t broker_reply_count(const struct broker_reply *r, uint64_t partition_id, uint64_t offset);
/* Reads a partition from @offset to its end. Return: how many messages. */
uint64_t broker_client_read(struct broker_client *c, uint64_t partition_id, uint64_t offset);
/* Return: the offset, or UINT64_MAX and the error in @ret_error. */
uint64_t broker_client_offset(struct broker_client *c,
                              uint64_t partition_id,
                              Drmq__Proto__OffsetKind kind,
                              int64_t time_ms,
                              enum drmq_error *ret_error);
enum drmq_error broker_client_commit(struct broker_client *c,
                                     const char *group,
                                     uint64_t partition_id,
                                     uint64_t offset);
/* Return: whether there is one. */
bool broker_client_position(struct broker_client *c,
                            const char *group,
                            uint64_t partition_id,
                            uint64_t *ret_offset);
/* message_free() */
Drmq__Proto__StatusResponse *broker_client_status(struct broker_client *c);
