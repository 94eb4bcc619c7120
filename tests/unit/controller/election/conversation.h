/* Elections as a conversation: what is fed, and the effects as text, one a line. For the tests of
 * this folder: each has an election of its own. */
#pragma once

#include "controller/election/election.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct election *e;
static struct election_effects effects;
static uint64_t now_ms;
static char text[1 << 12];

static inline void describe(const struct election_effect *f)
{
    static const char *const name[] = {"electing", "active", "stable", "fence", "grant"};
    size_t at = strlen(text);
    size_t room = sizeof text - at;
    int n = snprintf(text + at, room, "%s", name[f->type]);
    if (f->type == ELECTION_FENCE || f->type == ELECTION_GRANT) {
        n += snprintf(text + at + n, room - (size_t)n, " to %u", f->broker);
    }
    n += snprintf(text + at + n, room - (size_t)n, " shard %u epoch %u", (unsigned)f->shard,
                  f->epoch);
    if (f->type == ELECTION_PROPOSE_ACTIVE || f->type == ELECTION_GRANT) {
        n += snprintf(text + at + n, room - (size_t)n, " leader %u.%u boot %u v%u",
                      f->leader.broker, f->leader.disk_gen, (unsigned)f->boot, f->cfg.version);
    }
    snprintf(text + at + n, room - (size_t)n, "\n");
}

static inline enum status feed(struct election_input in)
{
    text[0] = '\0';
    election_effects_clear(&effects);
    enum status status = election_step(e, now_ms, &in, &effects);
    election_effects_group(&effects);
    for (size_t i = 0; i < effects.count && i < 40; i++) {
        describe(&effects.effect[i]);
    }
    return status;
}

#define EXPECT(status, in, lines)          \
    do {                                   \
        assert_int_equal(feed in, status); \
        assert_string_equal(text, lines);  \
    } while (0)

static inline struct election_config config(uint32_t version, uint32_t a, uint32_t b, uint32_t c)
{
    return (struct election_config){
        .version = version, .voter_count = 3, .voter = {{a, 1}, {b, 1}, {c, 1}}
    };
}

static inline struct election_row new_row(uint32_t shard, enum election_phase phase, uint32_t epoch)
{
    return (struct election_row){
        .shard = shard, .phase = phase, .epoch = epoch, .cfg = config(1, 1, 2, 3)};
}

static inline struct election_row active_row(uint32_t shard, uint32_t epoch, uint32_t leader,
                                             uint64_t boot)
{
    struct election_row row = new_row(shard, ELECTION_ACTIVE, epoch);
    row.leader = (struct election_replica){leader, 1};
    row.leader_boot = boot;
    return row;
}

static inline struct election_input row_input(const struct election_row *row)
{
    return (struct election_input){.type = ELECTION_ROW, .row = row};
}

#define ROW(...) (row_input(&(struct election_row[]){__VA_ARGS__}[0]))

static inline struct election_input up(uint32_t broker, uint64_t boot)
{
    return (struct election_input){
        .type = ELECTION_BROKER_UP, .broker = broker, .boot = boot, .disk_gen = 1};
}

static inline struct election_input down(uint32_t broker)
{
    return (struct election_input){.type = ELECTION_BROKER_DOWN, .broker = broker};
}

static inline struct election_input said(enum election_input_type type, uint32_t broker,
                                         uint64_t boot, uint32_t shard, uint32_t epoch)
{
    return (struct election_input){
        .type = type, .broker = broker, .boot = boot, .shard = shard, .epoch = epoch};
}

/* A certain report of shard 1, in boot 10 * broker. */
static inline struct election_input report(uint32_t broker, uint32_t epoch, uint32_t last_epoch,
                                           uint64_t end)
{
    return (struct election_input){
        .type = ELECTION_REPORT,
        .broker = broker,
        .shard = 1,
        .report = {.replica = {broker, 1},
                   .epoch = epoch,
                   .ok = true,
                   .certain = true,
                   .promised = epoch,
                   .last_epoch = last_epoch,
                   .boot = 10 * (uint64_t)broker,
                   .end = end}
    };
}

static inline struct election_input uncertain(struct election_input in)
{
    in.report.certain = false;
    return in;
}

/* One piece of the log cannot be read. */
static inline struct election_input holed(struct election_input in, uint64_t holes_end)
{
    in.report.holes = 1;
    in.report.holes_end = holes_end;
    return in;
}

static inline struct election_input tick(void)
{
    return (struct election_input){.type = ELECTION_TICK};
}

static inline int start(void **state)
{
    (void)state;
    e = election_new();
    now_ms = 1000;
    return e == NULL || feed((struct election_input){.type = ELECTION_ACTIVATED}) != STATUS_OK;
}

static inline int stop(void **state)
{
    (void)state;
    election_free(e);
    election_effects_release(&effects);
    return 0;
}

static inline void all_up(void)
{
    for (uint32_t id = 1; id <= 3; id++) {
        EXPECT(STATUS_OK, (up(id, 10 * (uint64_t)id)), "");
    }
}
