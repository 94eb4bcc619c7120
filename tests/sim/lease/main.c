/* weir-lease-sim [--from SEED] [--count N] [--trace] [--stop-after FAILURES]; and of
 * weir-lease-sim-mutants [--mutant N] */
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/sim/lease/world.h"

static struct world world;

#ifdef WEIR_MUTANTS
int weir_mutant;

static void choose_mutant(const char *number)
{
    weir_mutant = (int)strtol(number, NULL, 10);
}
#else
static void choose_mutant(const char *number)
{
    (void)fprintf(stderr,
                  "weir-lease-sim: mutant %s: this program keeps all rules; "
                  "weir-lease-sim-mutants takes them out\n",
                  number);
    exit(2);
}
#endif

void violate(struct world *w, const char *rule, const char *format, ...)
{
    va_list arguments;
    int length = snprintf(w->violation, sizeof(w->violation),
                          "at %llu ms: %s: ", (unsigned long long)w->now_ms, rule);
    va_start(arguments, format);
    (void)vsnprintf(w->violation + length, sizeof(w->violation) - (size_t)length, format,
                    arguments);
    va_end(arguments);
    longjmp(w->on_violation, 1);
}

void note(struct world *w, const char *format, ...)
{
    va_list arguments;
    if (!w->trace) {
        return;
    }
    printf("%8llu ", (unsigned long long)w->now_ms);
    va_start(arguments, format);
    (void)vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

static void on_abort(int number)
{
    (void)number;
    /* NOLINTNEXTLINE(bugprone-signal-handler,cert-sig30-c): abort() interrupts no print */
    (void)snprintf(world.violation, sizeof(world.violation), "a CHECK failed, see standard error");
    longjmp(world.on_violation, 1);
}

/* Everything begins again where the operator says. */
static void reset(struct world *w)
{
    Weir__LeasePosition position = WEIR__LEASE_POSITION__INIT;
    Weir__AppControl control = WEIR__APP_CONTROL__INIT;
    Weir__CmdAppControl cmd = WEIR__CMD_APP_CONTROL__INIT;
    Weir__Command command = WEIR__COMMAND__INIT;
    char app[] = "app";
    position.type = rng_once_in(&w->rng, 2) ? WEIR__LEASE_POSITION_TYPE__LEASE_LATEST
                                            : WEIR__LEASE_POSITION_TYPE__LEASE_TRIM_HORIZON;
    control.action = WEIR__APP_CONTROL__ACTION__RESET;
    control.application = app;
    control.position = &position;
    cmd.control = &control;
    command.kind_case = WEIR__COMMAND__KIND_APP_CONTROL;
    command.app_control = &cmd;
    command_later(w, &command, NULL);
    w->resets++;
    note(w, "a reset");
}

static void faults(struct world *w)
{
    workers_faults(w);
    if (w->now_ms >= w->reshard_ms) {
        w->reshard_ms = w->now_ms + rng_between(&w->rng, 1000, 15000);
        world_split_or_merge(w);
        world_expire_shard(w);
    }
    if (w->active && w->now_ms >= w->reset_ms) {
        w->reset_ms = UINT64_MAX;
        reset(w);
    }
}

static void run(struct world *w)
{
    world_open(w);
    workers_open(w);
    while (w->now_ms < FAULTS_MS + QUIET_MS) {
        w->now_ms += STEP_MS;
        w->quiet = w->now_ms > FAULTS_MS;
        if (!w->quiet) {
            faults(w);
        }
        if (w->now_ms >= w->change_ms && (!w->quiet || !w->active)) {
            controller_change(w);
        }
        mail_run(w);
        commands_run(w, false);
        workers_run(w);
        controller_tick(w);
        if (w->now_ms % 100 == 0) {
            check_time(w);
        }
    }
    check_end(w);
}

static bool run_seed(uint64_t seed, bool trace)
{
    memset(&world, 0, sizeof(world));
    world.seed = seed;
    world.trace = trace;
    rng_init(&world.rng, seed);
    if (setjmp(world.on_violation) == 0) {
        run(&world);
    }
    if (world.violation[0] != '\0') {
        printf("seed %llu FAILED: %s\n  again: weir-lease-sim --from %llu --count 1 --trace\n",
               (unsigned long long)seed, world.violation, (unsigned long long)seed);
        (void)fflush(stdout);
        return false; /* the world is left as it is: a violation may have come from anywhere */
    }
    world_close(&world);
    return true;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"from",       required_argument, NULL, 'f'},
        {"count",      required_argument, NULL, 'c'},
        {"stop-after", required_argument, NULL, 's'},
        {"mutant",     required_argument, NULL, 'm'},
        {"trace",      no_argument,       NULL, 't'},
        {NULL,         0,                 NULL, 0  }
    };
    uint64_t from = 1, count = 1, stop = UINT64_MAX, passed = 0, failed = 0, hash = 0;
    uint64_t commands = 0, moves = 0, takeovers = 0, reshards = 0, resets = 0;
    bool trace = false;
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 'f':
            from = strtoull(optarg, NULL, 10);
            break;
        case 'c':
            count = strtoull(optarg, NULL, 10);
            break;
        case 's':
            stop = strtoull(optarg, NULL, 10);
            break;
        case 'm':
            choose_mutant(optarg);
            break;
        case 't':
            trace = true;
            break;
        default:
            (void)fprintf(stderr, "usage: weir-lease-sim [--from SEED] [--count N] [--trace] "
                                  "[--stop-after FAILURES]\n");
            return 2;
        }
    }
    (void)signal(SIGABRT, on_abort);
    for (uint64_t seed = from; seed < from + count && failed < stop; seed++) {
        *(run_seed(seed, trace) ? &passed : &failed) += 1;
        commands += world.commands;
        moves += world.moves;
        takeovers += world.takeovers;
        reshards += world.reshards;
        resets += world.resets;
        hash = hash * 31 + world.hash;
    }
    printf("commands %llu, moves %llu, active controllers %llu, splits and merges %llu, resets "
           "%llu, hash %016llx\n",
           (unsigned long long)commands, (unsigned long long)moves, (unsigned long long)takeovers,
           (unsigned long long)reshards, (unsigned long long)resets, (unsigned long long)hash);
    printf("%llu seeds passed, %llu failed\n", (unsigned long long)passed,
           (unsigned long long)failed);
    return failed == 0 ? 0 : 1;
}
