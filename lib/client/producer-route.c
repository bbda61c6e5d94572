/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Which partitions a topic has: asked for when it is first written to, once in a while, and when
 * the node does not know one of them any more.
 */

#include "client/producer-internal.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/parse.h"

static void route_drop_call(struct route *route) {
        call_done(route->call);
        route->call = mem_free(route->call);
}

static void route_drop_lanes(struct route *route) {
        if (route->lanes != &route->only_lane)
                mem_free(route->lanes);
        route->lanes = NULL;
        route->n_lanes = 0;
}

struct route *route_free(struct route *route) {
        for (uint32_t i = 0; i < route->n_lanes; i++)
                lane_free(route->lanes[i]);
        route_drop_lanes(route);
        route_drop_call(route);
        return mem_free(route);
}

static void route_fail(struct route *route, int error, const char *text) {
        struct producer *p = route->producer;

        for (uint32_t i = 0; i < route->n_lanes; i++)
                lane_dismiss(route->lanes[i], error, text);
        route_drop_lanes(route);
        route->state = ROUTE_FAILED;
        route->error = error;
        if (error == -ENOTCONN ||
            error == -EPERM) /* it is not for this topic that nobody is there */
                producer_say(p, "%s", text);
        else
                producer_say(p, "topic \"%s\": %s", route->name, text);
}

static int route_set_lanes(struct route *route, const Drmq__Proto__Topic *topic) {
        struct lane **lanes;
        uint32_t n = (uint32_t) topic->n_partition;
        bool is_new = route->n_lanes == 0;

        /* Partitions are numbered 0.. and told in that order. */
        for (uint32_t i = 0; i < n; i++)
                if (topic->partition[i]->number != i)
                        return -EPROTO;

        lanes = new0(struct lane *, n);
        if (!lanes)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++) {
                if (i < route->n_lanes && route->lanes[i]->id == topic->partition[i]->id)
                        continue;
                lanes[i] = lane_new(route, i, topic->partition[i]->id);
                if (!lanes[i]) {
                        for (uint32_t k = 0; k < i; k++)
                                lane_free(lanes[k]);
                        mem_free(lanes);
                        return -ENOMEM;
                }
        }

        for (uint32_t i = 0; i < route->n_lanes; i++)
                if (i < n && !lanes[i])
                        lanes[i] = route->lanes[i];
                else
                        lane_dismiss(
                                route->lanes[i], -ENOENT, "the topic was deleted, and made anew");
        route_drop_lanes(route);
        route->only_lane = lanes[0];
        if (n == 1)
                mem_free(lanes);
        route->lanes = n == 1 ? &route->only_lane : lanes;
        route->n_lanes = n;
        /* So that many producers do not all begin at the same one. */
        if (is_new)
                route->turn = (uint32_t) (io_random_u64(route->producer->io) % n);
        route->turn %= n;
        route->state = ROUTE_KNOWN;
        return 0;
}

static void on_metadata(
        struct call *c, int r, const char *text, const ProtobufCMessage *answer, void *userdata) {
        const Drmq__Proto__MetadataResponse *m = (const void *) answer;
        struct route *route = userdata;
        struct producer *p = route->producer;
        const Drmq__Proto__Topic *topic;
        char words[CALL_TEXT_MAX];
        bool is_fresh = route->state != ROUTE_KNOWN;

        (void) c;
        if (r < 0) {
                (void) snprintf(words, sizeof(words), "%s", text);
                route_drop_call(route);
                /* Lanes that are there go on, until their batches' own deadlines. */
                if (is_fresh)
                        route_fail(route, r, words);
                return;
        }

        topic = m->n_topic == 1 ? m->topic[0] : NULL;
        if (!topic || !streq(topic->name, route->name))
                route_fail(route, -EPROTO, "the node's answer makes no sense");
        else if (topic->error && topic->error->code != DRMQ_ERROR_NONE) {
                uint32_t code = topic->error->code;

                /* A node that is busy, or where the topic is being made, will know soon. */
                if (!drmq_error_is_retriable(code) || is_fresh)
                        route_fail(route,
                                   drmq_error_to_errno(code),
                                   !is_fresh && code == DRMQ_ERROR_UNKNOWN_TOPIC ? "it was deleted"
                                   : topic->error->text && topic->error->text[0]
                                           ? topic->error->text
                                           : drmq_error_text(code));
        } else if (topic->n_partition == 0 || topic->n_partition > UINT32_MAX / 2)
                route_fail(route, -EPROTO, "the node's answer makes no sense");
        else {
                r = route_set_lanes(route, topic);
                if (r < 0 && is_fresh)
                        route_fail(route,
                                   r,
                                   r == -ENOMEM ? "out of memory"
                                                : "the node's answer makes no sense");
        }
        route_drop_call(route);
        producer_pump(p);
}

int route_ask(struct route *route, bool create) {
        Drmq__Proto__MetadataRequest m = DRMQ__PROTO__METADATA_REQUEST__INIT;
        struct producer *p = route->producer;
        usec_t now = io_now(p->io);
        char *name = route->name;
        int r;

        if (route->call)
                return 0;

        route->call = new (struct call, 1);
        if (!route->call)
                return -ENOMEM;

        m.topic = &name;
        m.n_topic = 1;
        m.create = create;
        call_init(route->call, on_metadata, route);
        route->asked_usec = now;
        r = call_start(route->call,
                       p->session,
                       FRAME_METADATA,
                       &m,
                       &drmq__proto__metadata_response__descriptor,
                       usec_add(now, p->config.timeout_usec));
        if (r < 0)
                route->call = mem_free(route->call);
        return r;
}

/* The slot of that name, or the free one where it would be. */
static struct route_slot *route_slot(const struct producer *p, const char *name, uint32_t hash) {
        for (size_t i = hash;; i++) {
                struct route_slot *slot = &p->routes[i & (p->n_slots - 1)];

                if (!slot->route || (slot->hash == hash && streq(slot->route->name, name)))
                        return slot;
        }
}

static int producer_grow_routes(struct producer *p) {
        struct route_slot *old = p->routes;
        size_t n_old = p->n_slots;

        if ((p->n_routes + 1) * 2 <= n_old)
                return 0;

        p->routes = new0(struct route_slot, MAX(n_old * 2, (size_t) 16));
        if (!p->routes) {
                p->routes = old;
                return -ENOMEM;
        }
        p->n_slots = MAX(n_old * 2, (size_t) 16);
        for (size_t i = 0; i < n_old; i++)
                if (old[i].route)
                        *route_slot(p, old[i].route->name, old[i].hash) = old[i];
        mem_free(old);
        return 0;
}

int route_get(struct producer *p, const char *name, struct route **ret) {
        uint32_t hash = murmur2(name, strlen(name));
        struct route_slot *slot;
        struct route *route;
        int r;

        r = producer_grow_routes(p);
        if (r < 0)
                return r;

        slot = route_slot(p, name, hash);
        if (slot->route) {
                *ret = slot->route;
                return 0;
        }

        if (!topic_name_is_valid(name)) {
                producer_say(p, "\"%.249s\" is not a valid topic name", name);
                return -EINVAL;
        }

        route = mem_alloc0(sizeof(struct route) + strlen(name) + 1);
        if (!route)
                return -ENOMEM;
        route->producer = p;
        memcpy(route->name, name, strlen(name) + 1);
        *slot = (struct route_slot){ .hash = hash, .route = route };
        p->n_routes++;
        *ret = route;
        return 0;
}

/* Why a route takes no messages now. */
int route_refuse(struct route *route) {
        struct producer *p = route->producer;
        int r;

        if (route->state == ROUTE_FAILED) {
                route->state = ROUTE_UNKNOWN;
                return route->error;
        }

        r = route_ask(route, /* create= */ true);
        if (r < 0)
                return r;
        p->waiting_route = route;
        return -EAGAIN;
}
