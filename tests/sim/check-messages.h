/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * All messages of a run: what was given to producers, what was acknowledged, what was read where. A
 * message's value holds its number, and bytes that follow from it, so that whatever is read can be
 * told from what was sent.
 */

#include "tests/sim/check.h"

struct sim_messages;

#define SIM_VALUE_BYTES_MIN 16u
/* From this size on a value may be hostile: made of images of the log's own structures
 * (log/format.h), one of which lies where the log looks for one. */
#define SIM_VALUE_BYTES_HOSTILE 34000u

/* @now_usec: the clock; borrows, NULL: it stands still. */
int sim_messages_new(struct sim_verdict *verdict,
                     const usec_t *now_usec,
                     struct sim_messages **ret);
struct sim_messages *sim_messages_free(struct sim_messages *m);
DEFINE_CLEANUP(struct sim_messages *, sim_messages_free)

/**
 * sim_messages_make() - a new message
 * @producer: who sends it: order holds among the messages of one
 * @topic: number
 * @size: bytes of its value, SIM_VALUE_BYTES_MIN at least
 * @is_hostile: of SIM_VALUE_BYTES_HOSTILE or more
 * @value: @size bytes, filled in
 *
 * Return: its number.
 */
uint64_t sim_messages_make(struct sim_messages *m,
                           unsigned producer,
                           unsigned topic,
                           bool is_hostile,
                           size_t size,
                           uint8_t *value);
/* The producer did not take it: it was never sent. */
void sim_messages_unmake(struct sim_messages *m, uint64_t number);
void sim_messages_on_acknowledged(struct sim_messages *m,
                                  uint64_t number,
                                  unsigned topic,
                                  unsigned partition,
                                  uint64_t offset);
/* It may be in the log or not. */
void sim_messages_on_failed(struct sim_messages *m, uint64_t number);
/* @value is what a reader got at that place. */
void sim_messages_on_read(struct sim_messages *m,
                          unsigned topic,
                          unsigned partition,
                          uint64_t offset,
                          const uint8_t *value,
                          size_t size);
/* Somebody was told that something in this topic cannot be read: from now on what is not seen there
 * counts as refused, not as lost. */
void sim_messages_on_refused(struct sim_messages *m, unsigned topic);

/**
 * sim_messages_on_power_lost() - the broker is up again on what a power cut left
 * @next_offset: of a partition, as the broker has it now: what was there from here on is lost
 * @before_usec: what was acknowledged, or read, at or before this is there
 *
 * What is lost is the end of the log: whatever was made when a message that is lost had been
 * acknowledged is lost too. From now on those places are free.
 */
void sim_messages_on_power_lost(struct sim_messages *m,
                                uint64_t (*next_offset)(void *userdata,
                                                        unsigned topic,
                                                        unsigned partition),
                                void *userdata,
                                usec_t before_usec);

/* A reader that asked for what there is was given nothing of a partition up to @offset: so that must
 * be gone. */
void sim_messages_on_passed(struct sim_messages *m,
                            unsigned topic,
                            unsigned partition,
                            uint64_t offset);
/* By decision a partition begins at @first_offset. */
void sim_messages_on_gone(struct sim_messages *m,
                          unsigned topic,
                          unsigned partition,
                          uint64_t first_offset);

/* When all has been read: is all there that must be? */
void sim_messages_judge(struct sim_messages *m);

uint64_t sim_messages_n_acknowledged(const struct sim_messages *m);
uint64_t sim_messages_n_lost(const struct sim_messages *m); /* to power cuts */
uint64_t sim_messages_n_read(const struct sim_messages *m);
uint64_t sim_messages_n_made(const struct sim_messages *m);
