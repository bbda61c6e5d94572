/* SPDX-License-Identifier: Apache-2.0 */

/*
 * An AVL tree, without recursion: a node knows its parent.
 *
 * I1: a walk in order meets the keys in ascending order, each once.
 * I2: balance = height of the right subtree - height of the left one, and is -1, 0 or 1.
 *
 * Source: G. M. Adelson-Velsky, E. M. Landis, "An algorithm for the organization of information",
 * 1962.
 */

#include "base/map.h"

/* Puts @new_child (may be NULL) where @old hangs: below @parent, or at the root. */
static void replace_child(struct map *m,
                          struct map_node *parent,
                          struct map_node *old,
                          struct map_node *new_child) {
        if (!parent)
                m->root = new_child;
        else if (parent->left == old)
                parent->left = new_child;
        else
                parent->right = new_child;

        if (new_child)
                new_child->parent = parent;
}

/* @n's right child takes its place, @n becomes the left child of it. */
static struct map_node *rotate_left(struct map *m, struct map_node *n) {
        struct map_node *up = n->right, *middle = up->left;

        replace_child(m, n->parent, n, up);
        up->left = n;
        n->parent = up;
        n->right = middle;
        if (middle)
                middle->parent = n;
        return up;
}

static struct map_node *rotate_right(struct map *m, struct map_node *n) {
        struct map_node *up = n->left, *middle = up->right;

        replace_child(m, n->parent, n, up);
        up->right = n;
        n->parent = up;
        n->left = middle;
        if (middle)
                middle->parent = n;
        return up;
}

/* Brings a node whose balance is 2 or -2 back to I2. Returns the node that is now in its place. */
static struct map_node *rebalance(struct map *m, struct map_node *n) {
        struct map_node *child, *grandchild;

        if (n->balance > 0) {
                child = n->right;
                if (child->balance >= 0) {
                        rotate_left(m, n);
                        /* a child in balance happens in removals only: the height stays, and both
                         * lean */
                        n->balance = child->balance == 0 ? 1 : 0;
                        child->balance = child->balance == 0 ? -1 : 0;
                        return child;
                }
                grandchild = child->left;
                rotate_right(m, child);
                rotate_left(m, n);
                n->balance = grandchild->balance > 0 ? -1 : 0;
                child->balance = grandchild->balance < 0 ? 1 : 0;
        } else {
                child = n->left;
                if (child->balance <= 0) {
                        rotate_right(m, n);
                        n->balance = child->balance == 0 ? -1 : 0;
                        child->balance = child->balance == 0 ? 1 : 0;
                        return child;
                }
                grandchild = child->right;
                rotate_left(m, child);
                rotate_right(m, n);
                n->balance = grandchild->balance < 0 ? 1 : 0;
                child->balance = grandchild->balance > 0 ? -1 : 0;
        }

        grandchild->balance = 0;
        return grandchild;
}

void map_init(struct map *m, map_compare_t compare) {
        assert(m);
        assert(compare);

        *m = (struct map){ .compare = compare };
}

int map_insert(struct map *m,
               const void *key,
               struct map_node *node,
               struct map_node **ret_existing) {
        struct map_node *parent = NULL, **place;

        assert(m);
        assert(node);

        for (place = &m->root; *place;) {
                int c = m->compare(key, *place);

                if (c == 0) {
                        if (ret_existing)
                                *ret_existing = *place;
                        return -EEXIST;
                }

                parent = *place;
                place = c < 0 ? &parent->left : &parent->right;
        }

        *node = (struct map_node){ .parent = parent };
        *place = node;
        m->n_nodes++;

        /* The subtree at @node is higher by one than what was there: tell those above, until one of
         * them is not. */
        for (; parent; node = parent, parent = parent->parent) {
                parent->balance += node == parent->right ? 1 : -1;
                if (parent->balance == 0)
                        break;
                if (parent->balance == 2 || parent->balance == -2) {
                        (void) rebalance(m, parent); /* back to the height it had */
                        break;
                }
        }

        return 0;
}

void map_remove(struct map *m, struct map_node *node) {
        struct map_node *parent;
        bool left_shrank;

        assert(m);
        assert(node);
        assert(m->n_nodes > 0);

        if (node->left && node->right) {
                /* The next node in order, which has no left child, moves into this one's place. */
                struct map_node *next = node->right;

                while (next->left)
                        next = next->left;

                if (next->parent == node) {
                        parent = next;
                        left_shrank = false;
                } else {
                        parent = next->parent;
                        left_shrank = true;
                        parent->left = next->right;
                        if (next->right)
                                next->right->parent = parent;
                        next->right = node->right;
                        next->right->parent = next;
                }
                next->left = node->left;
                next->left->parent = next;
                next->balance = node->balance;
                replace_child(m, node->parent, node, next);
        } else {
                parent = node->parent;
                left_shrank = parent && parent->left == node;
                replace_child(m, parent, node, node->left ?: node->right);
        }
        m->n_nodes--;
        *node = (struct map_node){ 0 };

        /* One side of @parent is lower by one: tell those above, until one of them is as high as
         * before. */
        while (parent) {
                struct map_node *n = parent;

                n->balance += left_shrank ? 1 : -1;
                if (n->balance == 1 || n->balance == -1)
                        break;
                if (n->balance != 0) {
                        n = rebalance(m, n);
                        if (n->balance != 0)
                                break;
                }
                parent = n->parent;
                left_shrank = parent && parent->left == n;
        }
}

struct map_node *map_find(const struct map *m, const void *key) {
        struct map_node *n;

        assert(m);

        for (n = m->root; n;) {
                int c = m->compare(key, n);

                if (c == 0)
                        break;
                n = c < 0 ? n->left : n->right;
        }

        return n;
}

struct map_node *map_find_ge(const struct map *m, const void *key) {
        struct map_node *found = NULL;

        assert(m);

        for (struct map_node *n = m->root; n;) {
                int c = m->compare(key, n);

                if (c == 0)
                        return n;
                if (c < 0)
                        found = n;
                n = c < 0 ? n->left : n->right;
        }

        return found;
}

struct map_node *map_find_le(const struct map *m, const void *key) {
        struct map_node *found = NULL;

        assert(m);

        for (struct map_node *n = m->root; n;) {
                int c = m->compare(key, n);

                if (c == 0)
                        return n;
                if (c > 0)
                        found = n;
                n = c < 0 ? n->left : n->right;
        }

        return found;
}

struct map_node *map_first(const struct map *m) {
        struct map_node *n;

        assert(m);

        n = m->root;
        while (n && n->left)
                n = n->left;
        return n;
}

struct map_node *map_last(const struct map *m) {
        struct map_node *n;

        assert(m);

        n = m->root;
        while (n && n->right)
                n = n->right;
        return n;
}

struct map_node *map_next(const struct map_node *node) {
        struct map_node *n;

        assert(node);

        if (node->right) {
                for (n = node->right; n->left;)
                        n = n->left;
                return n;
        }

        for (n = node->parent; n && n->right == node; n = n->parent)
                node = n;
        return n;
}

struct map_node *map_prev(const struct map_node *node) {
        struct map_node *n;

        assert(node);

        if (node->left) {
                for (n = node->left; n->right;)
                        n = n->right;
                return n;
        }

        for (n = node->parent; n && n->left == node; n = n->parent)
                node = n;
        return n;
}
