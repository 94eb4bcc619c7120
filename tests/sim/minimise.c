/* A failing seed, made smaller: one thing after another is taken from its plan, and stays away if
 * the same invariant still breaks. */
#include <stdio.h>
#include <string.h>

#include "tests/sim/minimise.h"

static struct world world;

/* The invariant that broke, "I3" of "at 17.2 ms: I3: ..."; empty: none. */
static void run(uint64_t seed, const struct limits *l, char out[16])
{
    out[0] = '\0';
    if (!world_run(&world, seed, l, false)) {
        const char *what = strstr(world.violation, "ms: ");
        snprintf(out, 16, "%.15s", what != NULL ? what + 4 : world.violation);
        char *end = strchr(out, ':');
        *(end != NULL ? end : &out[15]) = '\0';
    }
    world_release(&world);
}

static bool still(uint64_t seed, const struct limits *l, const char *wanted)
{
    char what[16];
    run(seed, l, what);
    return strcmp(what, wanted) == 0;
}

static void keep_if(uint64_t seed, struct limits *best, const struct limits *tried,
                    const char *wanted, const char *what)
{
    if (still(seed, tried, wanted)) {
        *best = *tried;
        printf("  without %s\n", what);
        fflush(stdout);
    }
}

static void drop_kinds(uint64_t seed, struct limits *best, const char *wanted)
{
    for (uint32_t i = 0; i < FAULTS; i++) {
        struct limits tried = *best;
        tried.without_faults |= UINT64_C(1) << i;
        keep_if(seed, best, &tried, wanted, fault_names[i]);
    }
    for (uint32_t i = 0; i < KNOBS; i++) {
        struct limits tried = *best;
        tried.without_knobs |= UINT64_C(1) << i;
        keep_if(seed, best, &tried, wanted, knob_names[i]);
    }
}

static void drop_rest(uint64_t seed, struct limits *best, const char *wanted)
{
    struct limits tried = *best;
    tried.calm = true;
    keep_if(seed, best, &tried, wanted, "lost, doubled and late messages");
    tried = *best;
    tried.without_moves = true;
    keep_if(seed, best, &tried, wanted, "moves of replicas");
    tried = *best;
    tried.without_reshard = true;
    keep_if(seed, best, &tried, wanted, "splits and merges");
    tried = *best;
    tried.without_raft = true;
    keep_if(seed, best, &tried, wanted, "the controllers' real Raft");
    tried = *best;
    tried.shards = 1;
    keep_if(seed, best, &tried, wanted, "other shards than the first");
    tried = *best;
    tried.clients = 1;
    keep_if(seed, best, &tried, wanted, "other clients than the first");
}

static void shorten(uint64_t seed, struct limits *best, const char *wanted)
{
    for (uint64_t end_us = 6 * (uint64_t)SECOND; end_us >= 300 * MS; end_us = end_us * 3 / 4) {
        struct limits tried = *best;
        tried.end_us = end_us;
        if (still(seed, &tried, wanted)) {
            *best = tried;
        }
    }
    if (best->end_us != 0) {
        printf("  faults end after %llu ms\n", (unsigned long long)(best->end_us / MS));
    }
}

bool minimise(uint64_t seed, struct limits *out)
{
    char wanted[16];
    *out = (struct limits){0};
    run(seed, NULL, wanted);
    if (wanted[0] == '\0') {
        printf("seed %llu passes: nothing to make smaller\n", (unsigned long long)seed);
        return false;
    }
    printf("seed %llu breaks %s\n", (unsigned long long)seed, wanted);
    drop_kinds(seed, out, wanted);
    drop_rest(seed, out, wanted);
    shorten(seed, out, wanted);
    drop_kinds(seed, out, wanted); /* what only mattered together with something else */
    return true;
}

void minimise_print(uint64_t seed, const struct limits *l)
{
    printf("again: weir-sim --from %llu --trace --limits %llx,%llx,%llu,%u,%u,%d\n",
           (unsigned long long)seed, (unsigned long long)l->without_faults,
           (unsigned long long)l->without_knobs, (unsigned long long)l->end_us, l->shards,
           l->clients,
           l->calm + 2 * l->without_moves + 4 * l->without_reshard + 8 * l->without_raft);
}

bool minimise_parse(const char *text, struct limits *out)
{
    unsigned long long faults, knobs, end_us;
    unsigned shards, clients, bits;
    if (sscanf(text, "%llx,%llx,%llu,%u,%u,%u", &faults, &knobs, &end_us, &shards, &clients,
               &bits) != 6 ||
        bits > 15) {
        return false;
    }
    *out = (struct limits){.without_faults = faults,
                           .without_knobs = knobs,
                           .end_us = end_us,
                           .shards = shards,
                           .clients = clients,
                           .calm = (bits & 1) != 0,
                           .without_moves = (bits & 2) != 0,
                           .without_reshard = (bits & 4) != 0,
                           .without_raft = (bits & 8) != 0};
    return true;
}
