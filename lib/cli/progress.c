/* SPDX-License-Identifier: Apache-2.0 */

/* Draws progress. Rates are over the whole time: they do not jump. */

#include "cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "base/format.h"
#include "base/fs.h"

#define BAR_WIDTH 20u

void progress_init(struct progress *p, enum progress_when when, const char *what, uint64_t total) {
        assert(p);
        assert(what);

        *p = (struct progress){
                .is_terminal = when != PROGRESS_NEVER && isatty(STDERR_FILENO),
                .what = what,
                .total = total,
                .started_usec = now_monotonic_usec(),
        };
        p->is_on = when == PROGRESS_ALWAYS || p->is_terminal;
        p->drawn_usec = p->started_usec;
}

static uint64_t rate(uint64_t n, usec_t usec) {
        return usec == 0 ? 0 : (uint64_t) ((double) n * (double) USEC_PER_SEC / (double) usec);
}

/* "12", "34.5k", "2.1M": a count as a rate is read. */
static void format_count(char dest[static FORMAT_MAX], uint64_t n) {
        if (n < 10000)
                (void) snprintf(dest, FORMAT_MAX, "%llu", (unsigned long long) n);
        else if (n < 1000000)
                (void) snprintf(dest, FORMAT_MAX, "%.1fk", (double) n / 1e3);
        else
                (void) snprintf(dest, FORMAT_MAX, "%.2fM", (double) n / 1e6);
}

void progress_format(char dest[static PROGRESS_WIDTH + 1],
                     const char *what,
                     uint64_t total,
                     const struct progress_state *s,
                     usec_t elapsed_usec) {

        char bytes[FORMAT_MAX], bytes_rate[FORMAT_MAX], count_rate[FORMAT_MAX], line[256];
        size_t n = 0;

        assert(s);

        if (total > 0) {
                double part = MIN((double) s->done / (double) total, 1.0);
                unsigned filled = (unsigned) (part * BAR_WIDTH);
                char bar[BAR_WIDTH + 1];

                for (unsigned i = 0; i < BAR_WIDTH; i++)
                        bar[i] = i < filled ? '#' : '.';
                bar[BAR_WIDTH] = '\0';
                n += (size_t) snprintf(
                        line, sizeof(line), "[%s] %3u%% ", bar, (unsigned) (part * 100));
        }

        format_count(count_rate, rate(s->n, elapsed_usec));
        n += (size_t) snprintf(
                line + n, sizeof(line) - n, "%llu %s", (unsigned long long) s->n, what);
        if (s->n_bytes > 0)
                n += (size_t) snprintf(
                        line + n, sizeof(line) - n, ", %s", format_bytes(bytes, s->n_bytes));
        n += (size_t) snprintf(line + n,
                               sizeof(line) - n,
                               ", %.1fs, %s/s",
                               (double) elapsed_usec / (double) USEC_PER_SEC,
                               count_rate);
        if (s->n_bytes > 0)
                (void) snprintf(line + n,
                                sizeof(line) - n,
                                ", %s/s",
                                format_bytes(bytes_rate, rate(s->n_bytes, elapsed_usec)));

        (void) snprintf(dest, PROGRESS_WIDTH + 1, "%.*s", (int) PROGRESS_WIDTH, line);
}

/* Whatever is wrong with stderr: there is nobody to tell. */
static void draw(const char *s) {
        (void) fd_write_full(STDERR_FILENO, s, strlen(s));
}

static void draw_line(struct progress *p, const struct progress_state *s, const char *end) {
        char text[PROGRESS_WIDTH + 1], line[PROGRESS_WIDTH + 32];
        usec_t now = now_monotonic_usec();

        progress_format(text, p->what, p->total, s, now - p->started_usec);
        (void) snprintf(line, sizeof(line), "%s%s%s", p->is_terminal ? "\r\033[K" : "", text, end);
        draw(line);
        p->drawn_usec = now;
}

usec_t progress_wait_usec(const struct progress *p) {
        usec_t period = p->is_terminal ? PROGRESS_USEC : PROGRESS_LINE_USEC;

        if (!p->is_on)
                return USEC_INFINITY;
        return usec_sub(p->drawn_usec + period, now_monotonic_usec());
}

void progress_update(struct progress *p, const struct progress_state *s) {
        assert(p);
        assert(s);

        if (!p->is_on || progress_wait_usec(p) > 0)
                return;
        draw_line(p, s, p->is_terminal ? "" : "\n");
        p->is_drawn = true;
}

void progress_clear(struct progress *p) {
        assert(p);

        if (p->is_terminal && p->is_drawn)
                draw("\r\033[K");
        p->is_drawn = false;
}

void progress_finish(struct progress *p, const struct progress_state *s) {
        assert(p);
        assert(s);

        if (p->is_on)
                draw_line(p, s, "\n");
        p->is_on = false;
}
