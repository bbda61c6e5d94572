/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/map.h: order, balance, and the same content as a plain array of what is in. */

#include "base/map.h"
#include "base/random.h"
#include "tests/lib/test.h"

struct item {
        uint64_t key;
        struct map_node node;
};

static int item_compare(const void *key, const struct map_node *n) {
        const uint64_t *k = key;

        return CMP(*k, CONTAINER_OF(n, struct item, node)->key);
}

static uint64_t key_of(const struct map_node *n) {
        return CONTAINER_OF(n, struct item, node)->key;
}

/* Checks parents, balances and heights below @n. Returns its height. */
static int check_subtree(const struct map_node *n, const struct map_node *parent) {
        int left, right;

        if (!n)
                return 0;

        ASSERT_TRUE(n->parent == parent);
        left = check_subtree(n->left, n);
        right = check_subtree(n->right, n);
        ASSERT_EQ(n->balance, right - left);
        ASSERT_TRUE(n->balance >= -1 && n->balance <= 1);
        return 1 + MAX(left, right);
}

static void check_tree(const struct map *m) {
        const struct map_node *before = NULL;
        size_t n_seen = 0;

        check_subtree(m->root, NULL);
        MAP_FOREACH(m, n) {
                if (before)
                        ASSERT_LT(key_of(before), key_of(n));
                ASSERT_TRUE(map_prev(n) == before);
                before = n;
                n_seen++;
        }
        ASSERT_TRUE(map_last(m) == before);
        ASSERT_EQ(n_seen, m->n_nodes);
}

TEST(empty_map_has_nothing) {
        struct map m;

        map_init(&m, item_compare);
        ASSERT_NULL(map_first(&m));
        ASSERT_NULL(map_last(&m));
        ASSERT_NULL(map_find(&m, &(uint64_t){ 1 }));
        ASSERT_NULL(map_find_ge(&m, &(uint64_t){ 1 }));
        ASSERT_NULL(map_find_le(&m, &(uint64_t){ 1 }));
        MAP_FOREACH(&m, n)
                ASSERT_NULL(n);
}

TEST(existing_key_is_refused_and_named) {
        struct item a = { .key = 5 }, b = { .key = 5 };
        struct map_node *existing = NULL;
        struct map m;

        map_init(&m, item_compare);
        ASSERT_OK(map_insert(&m, &a.key, &a.node, &existing));
        ASSERT_NULL(existing);
        ASSERT_ERROR(map_insert(&m, &b.key, &b.node, &existing), EEXIST);
        ASSERT_TRUE(existing == &a.node);
        ASSERT_ERROR(map_insert(&m, &b.key, &b.node, NULL), EEXIST);
        ASSERT_EQ(m.n_nodes, 1);
}

TEST(neighbours_of_a_key_are_found) {
        struct item items[100];
        struct map m;

        map_init(&m, item_compare);
        for (uint64_t i = 0; i < ELEMENTSOF(items); i++) { /* 10, 20, … 1000 */
                items[i].key = 10 * (i + 1);
                ASSERT_OK(map_insert(&m, &items[i].key, &items[i].node, NULL));
        }

        for (uint64_t key = 0; key <= 1010; key++) {
                struct map_node *at = map_find(&m, &key), *ge = map_find_ge(&m, &key),
                                *le = map_find_le(&m, &key);

                ASSERT_EQ(at != NULL, key > 0 && key <= 1000 && key % 10 == 0);
                if (at)
                        ASSERT_EQ(key_of(at), key);
                ASSERT_EQ(ge != NULL, key <= 1000);
                if (ge)
                        ASSERT_EQ(key_of(ge), MAX((key + 9) / 10 * 10, UINT64_C(10)));
                ASSERT_EQ(le != NULL, key >= 10);
                if (le)
                        ASSERT_EQ(key_of(le), MIN(key / 10 * 10, UINT64_C(1000)));
        }
}

TEST(ascending_and_descending_stay_balanced) {
        enum { N = 1000 };
        _cleanup_(mem_freep) struct item *items = new0(struct item, 2 * N);
        struct map m;

        map_init(&m, item_compare);
        for (uint64_t i = 0; i < N; i++) {
                items[i].key = N + i;
                ASSERT_OK(map_insert(&m, &items[i].key, &items[i].node, NULL));
                items[N + i].key = N - 1 - i;
                ASSERT_OK(map_insert(&m, &items[N + i].key, &items[N + i].node, NULL));
        }
        check_tree(&m);
        ASSERT_LE(check_subtree(m.root, NULL), 15); /* 1.44 log2(2000) */
        ASSERT_EQ(key_of(map_first(&m)), 0);
        ASSERT_EQ(key_of(map_last(&m)), 2 * N - 1);
}

TEST(random_changes_keep_order_and_balance) {
        enum { N = 300 };
        _cleanup_(mem_freep) struct item *items = new0(struct item, N);
        bool in[N] = { false };
        struct random random;
        size_t n_in = 0;
        struct map m;

        random_init(&random, 4);
        map_init(&m, item_compare);
        for (unsigned step = 0; step < 20000; step++) {
                /* In waves, so that the tree is also nearly empty and nearly full. */
                bool filling = step / 1000 % 2 == 0;
                uint64_t i = random_below(&random, N);

                items[i].key = i;
                if (!in[i] && random_chance(&random, filling ? 9 : 1, 10)) {
                        ASSERT_OK(map_insert(&m, &items[i].key, &items[i].node, NULL));
                        in[i] = true;
                        n_in++;
                } else if (in[i] && random_chance(&random, filling ? 1 : 9, 10)) {
                        map_remove(&m, &items[i].node);
                        in[i] = false;
                        n_in--;
                }
                ASSERT_EQ(map_find(&m, &i) != NULL, in[i]);
                if (step % 20 == 0)
                        check_tree(&m);
        }

        ASSERT_EQ(m.n_nodes, n_in);
        for (uint64_t i = 0; i < N; i++)
                ASSERT_EQ(map_find(&m, &i) != NULL, in[i]);
}

TEST(every_small_removal_is_right) {
        enum { N = 9 };
        struct item items[N];

        /* Every order of removal would be 9!; every pair of first ones covers each shape of
         * node. */
        for (unsigned first = 0; first < N; first++)
                for (unsigned second = 0; second < N; second++) {
                        struct map m;

                        map_init(&m, item_compare);
                        for (uint64_t i = 0; i < N; i++) {
                                items[i].key = i;
                                ASSERT_OK(map_insert(&m, &items[i].key, &items[i].node, NULL));
                        }
                        map_remove(&m, &items[first].node);
                        check_tree(&m);
                        if (second != first)
                                map_remove(&m, &items[second].node);
                        check_tree(&m);
                        for (uint64_t i = 0; i < N; i++)
                                ASSERT_EQ(map_find(&m, &i) != NULL, i != first && i != second);
                }
}

TEST(walk_may_free_the_node_at_hand) {
        struct map m;

        map_init(&m, item_compare);
        for (uint64_t i = 0; i < 100; i++) {
                struct item *item = new0(struct item, 1);

                item->key = i * 7919 % 100;
                ASSERT_OK(map_insert(&m, &item->key, &item->node, NULL));
        }
        MAP_FOREACH(&m, n) {
                map_remove(&m, n);
                mem_free(CONTAINER_OF(n, struct item, node));
        }
        ASSERT_EQ(m.n_nodes, 0);
        ASSERT_NULL(m.root);
}
