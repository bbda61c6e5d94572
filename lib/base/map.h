/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An ordered, intrusive map (balanced tree). Its order is a promise: what is written to disk or to
 * a peer by walking a map is the same on every replica. No allocation, no hash, no dependence on
 * addresses.
 *
 *     static int topic_compare(const void *key, const struct map_node *n) {
 *             return strcmp(key, CONTAINER_OF(n, struct topic, by_name)->name);
 *     }
 */

#include "base/macro.h"

struct map_node {
        struct map_node *parent, *left, *right;
        int balance;
};

/* <0, 0, >0 as key is below, equal to, above the node's key. */
typedef int (*map_compare_t)(const void *key, const struct map_node *node);

struct map {
        struct map_node *root;
        size_t n_nodes;
        map_compare_t compare;
};

/* An empty map. There is nothing to release: the nodes are the caller's. */
void map_init(struct map *m, map_compare_t compare);

/**
 * map_insert() - put a node where its key belongs
 * @m:            map
 * @key:          the key of @node, as @m's compare function takes it
 * @node:         node, in no map; borrowed until map_remove()
 * @ret_existing: returns the node that is in the way (written on -EEXIST only); may be NULL
 *
 * The key of a node must not change while it is in the map.
 *
 * Return: 0; -EEXIST a node with that key is there, nothing changed.
 */
int map_insert(struct map *m,
               const void *key,
               struct map_node *node,
               struct map_node **ret_existing);
/* @node is in @m. */
void map_remove(struct map *m, struct map_node *node);

/* All of these borrow, take O(log n) steps, and return NULL where there is none. */
struct map_node *map_find(const struct map *m, const void *key);
/* The first node whose key is not below @key. */
struct map_node *map_find_ge(const struct map *m, const void *key);
/* The last node whose key is not above @key. */
struct map_node *map_find_le(const struct map *m, const void *key);
struct map_node *map_first(const struct map *m);
struct map_node *map_last(const struct map *m);
/* The node after (before) this one in order. */
struct map_node *map_next(const struct map_node *node);
struct map_node *map_prev(const struct map_node *node);

/* -1, 0, 1: for comparing integers without overflow. */
#define CMP(a, b) (((a) > (b)) - ((a) < (b)))

/* The body may remove and free the node at hand, nothing else. */
#define MAP_FOREACH(m, n)                                                                          \
        for (struct map_node *n = map_first(m), *_next_##n = n ? map_next(n) : NULL; n;            \
             n = _next_##n, _next_##n = n ? map_next(n) : NULL)
