/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Any bytes as a configuration file. What was understood can be written down and read again, and is
 * the same then.
 */

#include "base/alloc.h"
#include "drmqd/config-load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_again(const struct config *c, const struct config_key *k) {
        _cleanup_(mem_freep) char *text = NULL, *again = NULL;
        struct config other;

        if (c->origins[k - config_keys].source == CONFIG_DEFAULT)
                return;

        text = config_format(c, k);
        assert(text);
        config_init(&other);
        assert(config_assign(&other, k, text, CONFIG_FILE, "again:1") == 0);
        again = config_format(&other, k);
        assert(again && streq(text, again));
        config_done(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        struct config_notes notes = {};
        size_t before = mem_bytes();
        struct config c;

        config_init(&c);
        assert(config_read(&c, "fuzz", (const char *) data, n, &notes) == 0);
        for (size_t i = 0; i < config_n_keys; i++)
                check_again(&c, config_keys + i);
        assert(config_check(&c, &notes) == 0);
        for (size_t i = 0; i < notes.n; i++)
                assert(notes.notes[i].text[0] != 0);
        config_notes_done(&notes);
        config_done(&c);
        assert(mem_bytes() == before);
        return 0;
}
