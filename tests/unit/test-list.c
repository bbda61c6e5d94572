/* SPDX-License-Identifier: Apache-2.0 */

/* Tests base/list.h. */

#include "base/list.h"
#include "tests/lib/test.h"

struct item {
        int value;
        struct list link;
};

TEST(order_is_that_of_append_and_prepend) {
        struct item items[5] = {
                { .value = 0 }, { .value = 1 }, { .value = 2 }, { .value = 3 }, { .value = 4 }
        };
        struct list head;
        int expected = 0;

        list_init(&head);
        ASSERT_TRUE(list_is_empty(&head));
        list_append(&head, &items[2].link);
        list_append(&head, &items[3].link);
        list_prepend(&head, &items[1].link);
        list_append(&head, &items[4].link);
        list_prepend(&head, &items[0].link);
        ASSERT_FALSE(list_is_empty(&head));

        LIST_FOREACH(&head, i, struct item, link)
                ASSERT_EQ(i->value, expected++);
        ASSERT_EQ(expected, 5);
        ASSERT_EQ(list_first(&head, struct item, link)->value, 0);
        ASSERT_EQ(list_last(&head, struct item, link)->value, 4);
}

TEST(empty_list_has_nothing) {
        struct list head;
        unsigned n = 0;

        list_init(&head);
        ASSERT_NULL(list_first(&head, struct item, link));
        ASSERT_NULL(list_last(&head, struct item, link));
        ASSERT_NULL(list_pop(&head, struct item, link));
        LIST_FOREACH(&head, i, struct item, link)
                n++;
        ASSERT_EQ(n, 0);
}

TEST(pop_takes_in_order) {
        struct item items[3] = { { .value = 0 }, { .value = 1 }, { .value = 2 } };
        struct list head;

        list_init(&head);
        for (unsigned i = 0; i < ELEMENTSOF(items); i++)
                list_append(&head, &items[i].link);
        for (int i = 0; i < 3; i++) {
                struct item *popped = list_pop(&head, struct item, link);

                ASSERT_EQ(popped->value, i);
                ASSERT_TRUE(list_is_empty(&popped->link)); /* points to itself */
        }
        ASSERT_TRUE(list_is_empty(&head));
}

TEST(remove_twice_does_nothing) {
        struct item a, b;
        struct list head;

        list_init(&head);
        list_append(&head, &a.link);
        list_append(&head, &b.link);
        list_remove(&a.link);
        list_remove(&a.link);
        ASSERT_TRUE(list_first(&head, struct item, link) == &b);
        ASSERT_TRUE(list_last(&head, struct item, link) == &b);
}

TEST(walk_may_free_the_element_at_hand) {
        struct list head;

        list_init(&head);
        for (int i = 0; i < 10; i++) {
                struct item *item = new0(struct item, 1);

                item->value = i;
                list_append(&head, &item->link);
        }
        LIST_FOREACH(&head, i, struct item, link)
                if (i->value % 2 == 0) {
                        list_remove(&i->link);
                        mem_free(i);
                }
        for (int i = 1; i < 10; i += 2) {
                struct item *item = list_pop(&head, struct item, link);

                ASSERT_EQ(item->value, i);
                mem_free(item);
        }
        ASSERT_TRUE(list_is_empty(&head));
}
