#include "base/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

enum { LABELS_MAX = 4, NUMBER_BYTES = 40 };

static const uint64_t bounds_us[HISTOGRAM_BUCKETS] = {
    100,   250,    500,    1000,   2500,    5000,    10000,   25000,
    50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000};
static const char *const bounds_text[HISTOGRAM_BUCKETS] = {
    "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025",
    "0.05",   "0.1",     "0.25",   "0.5",   "1",      "2.5",   "5",    "10"};

struct labels {
    const char *name[LABELS_MAX], *value[LABELS_MAX];
    uint32_t count;
};

void histogram_note(struct histogram *histogram, uint64_t us)
{
    uint32_t i = 0;
    while (i < HISTOGRAM_BUCKETS && us > bounds_us[i]) {
        i++;
    }
    histogram->bucket[i]++;
    histogram->count++;
    histogram->sum_us += us;
}

uint64_t histogram_bound_us(uint32_t bucket)
{
    CHECK(bucket < HISTOGRAM_BUCKETS);
    return bounds_us[bucket];
}

/* ---- text ---- */

static void add(struct metrics *m, const char *text, size_t size)
{
    m->failed = m->failed || buf_append(&m->out, text, size) != STATUS_OK;
}

static void add_text(struct metrics *m, const char *text)
{
    add(m, text, strlen(text));
}

static void add_escaped(struct metrics *m, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\' || *text == '"') {
            add(m, "\\", 1);
        }
        if (*text == '\n') {
            add_text(m, "\\n");
        } else {
            add(m, text, 1);
        }
    }
}

static void add_value(struct metrics *m, double value)
{
    char text[NUMBER_BYTES];
    if (value >= 0 && value < 9007199254740992.0 && value == floor(value)) {
        (void)snprintf(text, sizeof(text), " %" PRIu64 "\n", (uint64_t)value);
    } else {
        (void)snprintf(text, sizeof(text), " %.15g\n", value);
    }
    add_text(m, text);
}

static void add_labels(struct metrics *m, const struct labels *labels, const char *bound)
{
    const char *separator = "{";
    for (uint32_t i = 0; i < labels->count; i++) {
        add_text(m, separator);
        add_text(m, labels->name[i]);
        add_text(m, "=\"");
        add_escaped(m, labels->value[i]);
        add_text(m, "\"");
        separator = ",";
    }
    if (bound != NULL) {
        add_text(m, separator);
        add_text(m, "le=\"");
        add_text(m, bound);
        add_text(m, "\"");
        separator = ",";
    }
    if (separator[0] == ',') {
        add_text(m, "}");
    }
}

static void add_sample(struct metrics *m, const char *suffix, const struct labels *labels,
                       const char *bound, double value)
{
    add_text(m, m->family);
    add_text(m, suffix);
    add_labels(m, labels, bound);
    add_value(m, value);
}

/* ---- families ---- */

static bool is_name(const char *name)
{
    size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return size > 0 && name[size] == '\0' && (name[0] < '0' || name[0] > '9');
}

void metrics_family(struct metrics *m, const char *name, enum metric_type type, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    CHECK(is_name(name));
    m->family = name;
    m->type = type;
    m->series = 0;
    add_text(m, "# HELP ");
    add_text(m, name);
    add_text(m, " ");
    add_text(m, help);
    add_text(m, "\n# TYPE ");
    add_text(m, name);
    add_text(m, " ");
    add_text(m, types[type]);
    add_text(m, "\n");
}

static struct labels take_labels(va_list list)
{
    struct labels labels = {0};
    for (const char *name = va_arg(list, const char *); name != NULL;
         name = va_arg(list, const char *)) {
        CHECK(labels.count < LABELS_MAX && is_name(name));
        labels.name[labels.count] = name;
        labels.value[labels.count++] = va_arg(list, const char *);
    }
    return labels;
}

/* False: the family is full. */
static bool has_room(struct metrics *m)
{
    bool room = m->series < METRICS_SERIES_MAX;
    m->series += room ? 1 : 0;
    m->left_out += room ? 0 : 1;
    return room;
}

void metrics_put(struct metrics *m, double value, ...)
{
    va_list list;
    va_start(list, value);
    struct labels labels = take_labels(list);
    va_end(list);
    CHECK(m->family != NULL && m->type != METRIC_HISTOGRAM);
    if (has_room(m)) {
        add_sample(m, "", &labels, NULL, value);
    }
}

void metrics_put_histogram(struct metrics *m, const struct histogram *histogram, ...)
{
    va_list list;
    va_start(list, histogram);
    struct labels labels = take_labels(list);
    va_end(list);
    CHECK(m->family != NULL && m->type == METRIC_HISTOGRAM);
    if (!has_room(m)) {
        return;
    }
    uint64_t sum = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        sum += histogram->bucket[i];
        add_sample(m, "_bucket", &labels, bounds_text[i], (double)sum);
    }
    add_sample(m, "_bucket", &labels, "+Inf", (double)histogram->count);
    add_sample(m, "_sum", &labels, NULL, (double)histogram->sum_us / 1e6);
    add_sample(m, "_count", &labels, NULL, (double)histogram->count);
}

void metrics_one(struct metrics *m, const char *name, enum metric_type type, const char *help,
                 double value)
{
    metrics_family(m, name, type, help);
    metrics_put(m, value, NULL);
}

void metrics_finish(struct metrics *m)
{
    metrics_one(m, "weir_metrics_left_out", METRIC_GAUGE,
                "Samples that are not on this page, because their families are full.",
                (double)m->left_out);
}

void metrics_release(struct metrics *m)
{
    buf_release(&m->out);
    *m = (struct metrics){0};
}
