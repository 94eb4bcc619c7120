/* weir-sim --from SEED --count N …: runs seeds; --minimise SEED: makes a failing one smaller. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/minimise.h"

static struct world world;

#ifdef WEIR_MUTANTS
int weir_mutant;

static void choose_mutant(uint64_t number)
{
    weir_mutant = (int)number;
}
#else
static void choose_mutant(uint64_t number)
{
    if (number != 0) {
        fprintf(stderr,
                "weir-sim: this program keeps all rules; weir-sim-mutants takes them out\n");
        exit(2);
    }
}
#endif

static void report(const char *what)
{
    printf("seed %llu FAILED: %s\n", (unsigned long long)world.seed, what);
    printf("  again: scripts/sim --from %llu --count 1 --trace\n", (unsigned long long)world.seed);
    fflush(stdout);
}

/* A broken CHECK in a core is a finding like any other: the seed fails, the next one runs. */
static void on_abort(int number)
{
    (void)number;
    snprintf(world.violation, sizeof world.violation, "a CHECK failed, see standard error");
    longjmp(world.on_violation, 1);
}

static void summarize(const struct counters *c, uint64_t passed, uint64_t failed)
{
    printf("steps %llu, messages %llu, commits %llu, acknowledged puts %llu, elections %llu, "
           "crashes %llu, damaged logs %llu, lost disks %llu, truncations %llu, "
           "reconfigurations %llu, seals told %llu, installed copies %llu, moved replicas %llu, "
           "handovers %llu\n",
           (unsigned long long)c->steps, (unsigned long long)c->messages,
           (unsigned long long)c->commits, (unsigned long long)c->puts_acked,
           (unsigned long long)c->elections, (unsigned long long)c->crashes,
           (unsigned long long)c->damages, (unsigned long long)c->disks_lost,
           (unsigned long long)c->truncations, (unsigned long long)c->reconfigurations,
           (unsigned long long)c->seals, (unsigned long long)c->installs,
           (unsigned long long)c->moves, (unsigned long long)c->handovers);
    printf("%llu seeds passed, %llu failed\n", (unsigned long long)passed,
           (unsigned long long)failed);
}

static void add(struct counters *sum, const struct counters *one)
{
    sum->steps += one->steps;
    sum->messages += one->messages;
    sum->commits += one->commits;
    sum->puts_acked += one->puts_acked;
    sum->elections += one->elections;
    sum->crashes += one->crashes;
    sum->damages += one->damages;
    sum->disks_lost += one->disks_lost;
    sum->truncations += one->truncations;
    sum->reconfigurations += one->reconfigurations;
    sum->seals += one->seals;
    sum->installs += one->installs;
    sum->moves += one->moves;
    sum->handovers += one->handovers;
}

static const struct {
    const char *name, *text;
    uint64_t floor; /* in 10,000 seeds */
} situations[SITUATION_COUNT] = {
#define X(name, floor, text) {#name, text, floor},
    SITUATIONS(X)
#undef X
};

static uint64_t seen[SITUATION_COUNT];

/* One line each, for people and for scripts/sim, which adds them up. */
static void list_situations(void)
{
    for (uint32_t i = 0; i < SITUATION_COUNT; i++) {
        printf("situation %-26s %10llu  floor %6llu  %s\n", situations[i].name,
               (unsigned long long)seen[i], (unsigned long long)situations[i].floor,
               situations[i].text);
    }
}

/* One seed in a hundred runs twice: both runs must be the same (`world` is the first). */
static bool runs_the_same(const struct limits *limits, bool trace)
{
    static struct world again;
    if (world.seed % 100 != 0 || trace) {
        return true;
    }
    bool same = world_run(&again, world.seed, limits, false) &&
                again.trace_hash == world.trace_hash && again.now_us == world.now_us;
    world_release(&again);
    if (!same) {
        snprintf(world.violation, sizeof world.violation, "two runs of this seed differ");
    }
    return same;
}

static int minimise_seed(uint64_t seed)
{
    struct limits limits;
    if (!minimise(seed, &limits)) {
        return 0;
    }
    minimise_print(seed, &limits);
    return 1;
}

struct options {
    uint64_t from, count, stop_after, mutant;
    uint64_t minimise;
    bool trace, hashes, situations, limited;
    struct limits limits;
};

static bool parse(int argc, char **argv, struct options *out)
{
    static const struct option known[] = {
        {"from",       required_argument, NULL, 'f'},
        {"count",      required_argument, NULL, 'c'},
        {"trace",      no_argument,       NULL, 't'},
        {"hashes",     no_argument,       NULL, 'h'},
        {"situations", no_argument,       NULL, 'S'},
        {"minimise",   required_argument, NULL, 'M'},
        {"limits",     required_argument, NULL, 'L'},
        {"raft",       no_argument,       NULL, 'r'},
        {"stop-after", required_argument, NULL, 's'},
        {"mutant",     required_argument, NULL, 'm'},
        {NULL,         0,                 NULL, 0  }
    };
    *out = (struct options){.from = 1, .count = 1, .stop_after = UINT64_MAX};
    bool raft = false;
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        char *rest = NULL;
        switch (c) {
        case 'f':
            out->from = strtoull(optarg, &rest, 10);
            break;
        case 'c':
            out->count = strtoull(optarg, &rest, 10);
            break;
        case 't':
            out->trace = true;
            break;
        case 'h':
            out->hashes = true;
            break;
        case 'M':
            out->minimise = strtoull(optarg, &rest, 10);
            break;
        case 'L':
            out->limited = true;
            if (!minimise_parse(optarg, &out->limits)) {
                return false;
            }
            break;
        case 'r':
            raft = true;
            break;
        case 'S':
            out->situations = true;
            break;
        case 's':
            out->stop_after = strtoull(optarg, &rest, 10);
            break;
        case 'm':
            out->mutant = strtoull(optarg, &rest, 10);
            break;
        default:
            return false;
        }
        if (rest != NULL && *rest != '\0') {
            return false;
        }
    }
    out->limited = out->limited || raft;
    out->limits.raft = out->limits.raft || raft;
    return optind == argc;
}

int main(int argc, char **argv)
{
    struct options o;
    if (!parse(argc, argv, &o)) {
        fprintf(stderr,
                "usage: weir-sim --from SEED --count N [--trace] [--hashes] [--situations]\n"
                "                [--stop-after FAILURES] [--limits LIMITS] [--raft]\n"
                "       weir-sim --minimise SEED\n");
        return 2;
    }
    choose_mutant(o.mutant);
    struct sigaction action = {.sa_handler = on_abort, .sa_flags = SA_NODEFER};
    sigaction(SIGABRT, &action, NULL);
    struct counters sum = {0};
    uint64_t passed = 0, failed = 0;
    if (o.minimise != 0) {
        return minimise_seed(o.minimise);
    }
    for (uint64_t i = 0; i < o.count && failed < o.stop_after; i++) {
        const struct limits *limits = o.limited ? &o.limits : NULL;
        bool ok = world_run(&world, o.from + i, limits, o.trace) && runs_the_same(limits, o.trace);
        if (!ok) {
            report(world.violation);
        }
        *(ok ? &passed : &failed) += 1;
        if (o.hashes) {
            printf("seed %llu hash %016llx\n", (unsigned long long)world.seed,
                   (unsigned long long)world.trace_hash);
        }
        add(&sum, &world.count);
        for (uint32_t k = 0; k < SITUATION_COUNT; k++) {
            seen[k] += world.seen[k];
        }
        world_release(&world);
    }
    if (o.situations) {
        list_situations();
    }
    summarize(&sum, passed, failed);
    return failed == 0 ? 0 : 1;
}
