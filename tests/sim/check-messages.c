/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Checkers acknowledged, invented, dense, order, twice, agree and lost.
 *
 * I1: place[] of a partition has, for each offset that anybody spoke of, the number of its message.
 */

#include "tests/sim/check-messages.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "log/format.h"
#include "tests/sim/image.h"

#define MAGIC UINT64_C(0x314d4953514d5244) /* "DRMQSIM1" */
#define NOBODY UINT64_MAX
#define OFFSETS_MAX (UINT64_C(1) << 32)

enum outcome {
        SENT,
        UNMADE,
        ACKNOWLEDGED,
        FAILED,
        LOST, /* it was acknowledged, and a power cut took it while it was young */
};

struct message {
        enum outcome outcome;
        unsigned producer, topic, partition;
        bool is_hostile;
        size_t size;
        usec_t made_usec;
        usec_t known_usec; /* acknowledged or read, whichever came first */
        uint64_t offset;   /* ACKNOWLEDGED: as it was said; else where it was read */
        bool is_read;
};

struct partition {
        unsigned topic, number;
        uint64_t *place; /* I1 */
        uint64_t n, n_allocated;
        uint64_t first_offset;  /* what is below is gone by decision */
        uint64_t passed_offset; /* what is below was passed over by a reader */
};

struct sim_messages {
        struct sim_verdict *verdict;
        const usec_t *now_usec;
        struct message *messages;
        uint64_t n, n_allocated;
        struct partition *partitions;
        size_t n_partitions;
        bool *refused; /* by topic */
        size_t n_refused;
        uint64_t n_acknowledged, n_read, n_lost;
};

int sim_messages_new(struct sim_verdict *verdict,
                     const usec_t *now_usec,
                     struct sim_messages **ret) {
        struct sim_messages *m = must(calloc(1, sizeof(*m)));

        m->verdict = verdict;
        m->now_usec = now_usec;
        *ret = m;
        return 0;
}

struct sim_messages *sim_messages_free(struct sim_messages *m) {
        if (!m)
                return NULL;

        for (size_t i = 0; i < m->n_partitions; i++)
                free(m->partitions[i].place);
        free(m->partitions);
        free(m->messages);
        free(m->refused);
        free(m);
        return NULL;
}

static usec_t now_usec(const struct sim_messages *m) {
        return m->now_usec ? *m->now_usec : 0;
}

/* Images of a group write's header, each but for the salt as good as a real one, of entries far
 * ahead. Their distance has no divisor in common with a sector's size, so that one in 512 begins
 * where a sector does. */
static void fill_images(uint64_t number, uint8_t *p, size_t size) {
        const size_t distance = GROUP_HEADER_BYTES + 1;

        memset(p, 'x', size);
        for (; size >= distance; p += distance, size -= distance) {
                memcpy(p + 4, "DRGW", 4);
                le64_store(p + 8, 1000000 + number);
                le64_store(p + 16, 1000000 + number);
                le64_store(p + 24, 1000);
                le32_store(p + 32, 1000);
                le32_store(p + 36, 0);
                le64_store(p + 40, 999999 + number);
                le64_store(p + 48, 999999 + number);
                le64_store(p + 56, 1000);
                le32_store(p, crc32c(0, p + 4, GROUP_HEADER_BYTES - 4));
        }
}

static void fill_value(const struct sim_messages *m, uint64_t number, uint8_t *value) {
        const struct message *message = m->messages + number;
        uint8_t *rest = value + SIM_VALUE_BYTES_MIN;
        size_t n = message->size - SIM_VALUE_BYTES_MIN;
        struct random random;

        le64_store(value, MAGIC);
        le64_store(value + 8, number);
        random_init(&random, number);
        if (message->is_hostile)
                fill_images(number, rest, n);
        else
                random_bytes(&random, rest, n);
}

uint64_t sim_messages_make(struct sim_messages *m,
                           unsigned producer,
                           unsigned topic,
                           bool is_hostile,
                           size_t size,
                           uint8_t *value) {

        assert(size >= (is_hostile ? SIM_VALUE_BYTES_HOSTILE : SIM_VALUE_BYTES_MIN));

        if (m->n == m->n_allocated) {
                m->n_allocated = MAX(m->n_allocated * 2, UINT64_C(1024));
                m->messages = must(realloc(m->messages, m->n_allocated * sizeof(*m->messages)));
        }

        m->messages[m->n] = (struct message){
                .producer = producer,
                .topic = topic,
                .is_hostile = is_hostile,
                .size = size,
                .made_usec = now_usec(m),
        };
        fill_value(m, m->n, value);
        return m->n++;
}

void sim_messages_unmake(struct sim_messages *m, uint64_t number) {
        m->messages[number].outcome = UNMADE;
}

static struct partition *find_partition(struct sim_messages *m, unsigned topic, unsigned number) {
        for (size_t i = 0; i < m->n_partitions; i++)
                if (m->partitions[i].topic == topic && m->partitions[i].number == number)
                        return m->partitions + i;

        m->partitions =
                must(realloc(m->partitions, (m->n_partitions + 1) * sizeof(*m->partitions)));
        m->partitions[m->n_partitions] = (struct partition){ .topic = topic, .number = number };
        return m->partitions + m->n_partitions++;
}

/* The message at a place, to be read or set. */
static uint64_t *
find_place(struct sim_messages *m, unsigned topic, unsigned number, uint64_t offset) {
        struct partition *p = find_partition(m, topic, number);

        if (offset >= p->n_allocated) {
                uint64_t n = MAX(offset + 1, p->n_allocated * 2);

                p->place = must(realloc(p->place, n * sizeof(*p->place)));
                for (uint64_t i = p->n_allocated; i < n; i++)
                        p->place[i] = NOBODY;
                p->n_allocated = n;
        }
        p->n = MAX(p->n, offset + 1);
        return p->place + offset;
}

/* Notes that a message is at an offset, and says what contradicts that. */
static void
put(struct sim_messages *m, uint64_t number, unsigned topic, unsigned partition, uint64_t offset) {
        struct message *message = m->messages + number;
        bool is_placed = message->is_read || message->outcome == ACKNOWLEDGED;
        uint64_t *place;

        if (offset >= OFFSETS_MAX) {
                sim_violation(m->verdict,
                              "dense",
                              "message %" PRIu64 " of topic %u partition %u is at offset %" PRIu64,
                              number,
                              topic,
                              partition,
                              offset);
                return;
        }

        place = find_place(m, topic, partition, offset);
        if (*place != NOBODY && *place != number)
                sim_violation(m->verdict,
                              "agree",
                              "offset %" PRIu64 " of topic %u partition %u has message %" PRIu64
                              ", and had message %" PRIu64 "%s",
                              offset,
                              topic,
                              partition,
                              number,
                              *place,
                              m->messages[*place].outcome == ACKNOWLEDGED ? ", acknowledged" : "");
        else if (is_placed && (message->partition != partition || message->offset != offset))
                sim_violation(m->verdict,
                              "twice",
                              "message %" PRIu64 " of topic %u is at partition %u offset %" PRIu64
                              " and at partition %u offset %" PRIu64,
                              number,
                              topic,
                              message->partition,
                              message->offset,
                              partition,
                              offset);

        if (!is_placed)
                message->known_usec = now_usec(m);
        *place = number;
        message->partition = partition;
        message->offset = offset;
}

void sim_messages_on_acknowledged(struct sim_messages *m,
                                  uint64_t number,
                                  unsigned topic,
                                  unsigned partition,
                                  uint64_t offset) {

        put(m, number, topic, partition, offset);
        m->messages[number].outcome = ACKNOWLEDGED;
        m->n_acknowledged++;
}

void sim_messages_on_failed(struct sim_messages *m, uint64_t number) {
        m->messages[number].outcome = FAILED;
}

void sim_messages_on_read(struct sim_messages *m,
                          unsigned topic,
                          unsigned partition,
                          uint64_t offset,
                          const uint8_t *value,
                          size_t size) {

        uint64_t number = NOBODY;
        bool is_ours = false;

        if (value && size >= SIM_VALUE_BYTES_MIN && le64_load(value) == MAGIC) {
                number = le64_load(value + 8);
                is_ours = number < m->n && m->messages[number].topic == topic &&
                          m->messages[number].outcome != UNMADE && m->messages[number].size == size;
        }
        if (is_ours) {
                uint8_t *expected = must(malloc(size));

                fill_value(m, number, expected);
                is_ours = memcmp(value, expected, size) == 0;
                free(expected);
        }
        if (!is_ours) {
                sim_violation(m->verdict,
                              "invented",
                              "topic %u partition %u offset %" PRIu64
                              " holds %zu bytes that nobody sent there (%" PRId64 ")",
                              topic,
                              partition,
                              offset,
                              size,
                              (int64_t) number);
                return;
        }

        if (m->messages[number].outcome == LOST)
                sim_violation(m->verdict,
                              "lost",
                              "message %" PRIu64 " was lost in a power cut, and has come back",
                              number);
        put(m, number, topic, partition, offset);
        m->messages[number].is_read = true;
        m->n_read++;
}

void sim_messages_on_refused(struct sim_messages *m, unsigned topic) {
        if (topic >= m->n_refused) {
                m->refused = must(realloc(m->refused, (topic + 1) * sizeof(*m->refused)));
                memset(m->refused + m->n_refused,
                       0,
                       (topic + 1 - m->n_refused) * sizeof(*m->refused));
                m->n_refused = topic + 1;
        }
        m->refused[topic] = true;
}

void sim_messages_on_power_lost(struct sim_messages *m,
                                uint64_t (*next_offset)(void *userdata,
                                                        unsigned topic,
                                                        unsigned partition),
                                void *userdata,
                                usec_t before_usec) {

        usec_t first_usec = USEC_INFINITY; /* when the first that is lost was acknowledged */

        for (size_t i = 0; i < m->n_partitions; i++) {
                struct partition *p = m->partitions + i;
                const uint64_t next = next_offset(userdata, p->topic, p->number);

                for (uint64_t offset = next; offset < p->n; offset++) {
                        struct message *message = m->messages + p->place[offset];

                        if (p->place[offset] == NOBODY)
                                continue;
                        if (message->known_usec <= before_usec)
                                sim_violation(m->verdict,
                                              "lost",
                                              "message %" PRIu64
                                              " of topic %u partition %u offset %" PRIu64
                                              " was there at %" PRIu64
                                              " and is lost, and what was there at %" PRIu64
                                              " must not be",
                                              p->place[offset],
                                              p->topic,
                                              p->number,
                                              offset,
                                              message->known_usec,
                                              before_usec);
                        if (message->outcome == ACKNOWLEDGED) {
                                first_usec = MIN(first_usec, message->known_usec);
                                message->outcome = LOST;
                                m->n_lost++;
                        }
                        message->is_read = false;
                        p->place[offset] = NOBODY;
                }
                p->n = MIN(p->n, next);
                p->passed_offset = 0; /* what took it may be lost too */
        }

        for (uint64_t i = 0; i < m->n; i++)
                if (m->messages[i].outcome == ACKNOWLEDGED && m->messages[i].made_usec > first_usec)
                        sim_violation(m->verdict,
                                      "lost",
                                      "message %" PRIu64 " was made at %" PRIu64
                                      " and is there, one that was acknowledged at %" PRIu64
                                      " is lost",
                                      i,
                                      m->messages[i].made_usec,
                                      first_usec);
}

void sim_messages_on_passed(struct sim_messages *m,
                            unsigned topic,
                            unsigned partition,
                            uint64_t offset) {
        struct partition *p = find_partition(m, topic, partition);

        p->passed_offset = MAX(p->passed_offset, offset);
}

void sim_messages_on_gone(struct sim_messages *m,
                          unsigned topic,
                          unsigned partition,
                          uint64_t first_offset) {
        find_partition(m, topic, partition)->first_offset = first_offset;
}

static bool is_gone(struct sim_messages *m, const struct message *message) {
        return message->outcome == ACKNOWLEDGED &&
               message->offset <
                       find_partition(m, message->topic, message->partition)->first_offset;
}

static bool is_refused(const struct sim_messages *m, unsigned topic) {
        return topic < m->n_refused && m->refused[topic];
}

/* The last message of each producer that a partition has shown. */
struct last {
        unsigned producer;
        uint64_t number;
};

static void judge_partition(struct sim_messages *m, const struct partition *p) {
        struct last *last = NULL;
        size_t n_last = 0;

        if (p->passed_offset > p->first_offset && !is_refused(m, p->topic))
                sim_violation(m->verdict,
                              "dense",
                              "topic %u partition %u begins at %" PRIu64
                              ", and a reader was given nothing up to %" PRIu64,
                              p->topic,
                              p->number,
                              p->first_offset,
                              p->passed_offset);

        for (uint64_t offset = p->first_offset; offset < p->n; offset++) {
                const struct message *message;
                size_t i = 0;

                if (p->place[offset] == NOBODY || !m->messages[p->place[offset]].is_read) {
                        if (!is_refused(m, p->topic) && p->place[offset] == NOBODY)
                                sim_violation(m->verdict,
                                              "dense",
                                              "topic %u partition %u has nothing at offset %" PRIu64
                                              " of %" PRIu64,
                                              p->topic,
                                              p->number,
                                              offset,
                                              p->n);
                        continue;
                }

                message = m->messages + p->place[offset];
                while (i < n_last && last[i].producer != message->producer)
                        i++;
                if (i == n_last) {
                        last = must(realloc(last, (n_last + 1) * sizeof(*last)));
                        last[n_last++].producer = message->producer;
                } else if (last[i].number > p->place[offset])
                        sim_violation(m->verdict,
                                      "order",
                                      "topic %u partition %u: message %" PRIu64
                                      " of producer %u is behind message %" PRIu64,
                                      p->topic,
                                      p->number,
                                      p->place[offset],
                                      message->producer,
                                      last[i].number);
                last[i].number = p->place[offset];
        }

        free(last);
}

void sim_messages_judge(struct sim_messages *m) {
        for (uint64_t i = 0; i < m->n; i++) {
                const struct message *message = m->messages + i;

                if (message->outcome == ACKNOWLEDGED && !message->is_read &&
                    !is_refused(m, message->topic) && !is_gone(m, message))
                        sim_violation(m->verdict,
                                      "acknowledged",
                                      "message %" PRIu64
                                      " was acknowledged at topic %u partition %u offset %" PRIu64
                                      " and is not there",
                                      i,
                                      message->topic,
                                      message->partition,
                                      message->offset);
        }
        for (size_t i = 0; i < m->n_partitions; i++)
                judge_partition(m, m->partitions + i);
}

uint64_t sim_messages_n_acknowledged(const struct sim_messages *m) {
        return m->n_acknowledged;
}

uint64_t sim_messages_n_lost(const struct sim_messages *m) {
        return m->n_lost;
}

uint64_t sim_messages_n_read(const struct sim_messages *m) {
        return m->n_read;
}

uint64_t sim_messages_n_made(const struct sim_messages *m) {
        return m->n;
}
