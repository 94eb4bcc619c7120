/* weir-model: breadth first through all that can happen within the bounds.
 *
 * A state is kept as the action that led to it from its parent, 6 bytes, and its fingerprint, 16
 * bytes; to go on from it, its path is played again. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "tests/model/model.h"

struct node {
    uint32_t parent;
    uint16_t action, depth;
};

struct search {
    struct fingerprint *seen; /* open addressing; {0, 0} is empty */
    uint64_t seen_capacity, seen_count;
    struct node *node;
    uint64_t count, capacity, limit;
    uint64_t transitions;
    struct world at;  /* the state that is gone on from */
    struct world now; /* what comes of it */
    uint32_t current;
    uint16_t trying;
    bool found;
};

static struct search search;

static void *must_have(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "weir-model: out of memory at %llu states; try smaller bounds\n",
                (unsigned long long)search.count);
        exit(3);
    }
    return memory;
}

static bool insert(struct fingerprint *table, uint64_t capacity, struct fingerprint f)
{
    uint64_t at = f.low & (capacity - 1);
    while (table[at].low != 0 || table[at].high != 0) {
        if (table[at].low == f.low && table[at].high == f.high) {
            return false;
        }
        at = (at + 1) & (capacity - 1);
    }
    table[at] = f;
    return true;
}

static void seen_grow(void)
{
    uint64_t capacity = search.seen_capacity == 0 ? 1 << 16 : search.seen_capacity * 2;
    struct fingerprint *table = must_have(calloc(capacity, sizeof *table));
    for (uint64_t i = 0; i < search.seen_capacity; i++) {
        if (search.seen[i].low != 0 || search.seen[i].high != 0) {
            insert(table, capacity, search.seen[i]);
        }
    }
    free(search.seen);
    search.seen = table;
    search.seen_capacity = capacity;
}

static bool is_new(const struct world *w)
{
    if (search.seen_count * 4 >= search.seen_capacity * 3) {
        seen_grow();
    }
    if (!insert(search.seen, search.seen_capacity, world_fingerprint(w))) {
        return false;
    }
    search.seen_count++;
    return true;
}

static void add_node(uint32_t parent, uint16_t action)
{
    if (search.count == search.capacity) {
        search.capacity = search.capacity == 0 ? 1 << 16 : search.capacity * 2;
        search.node = must_have(realloc(search.node, search.capacity * sizeof *search.node));
    }
    uint16_t depth = search.count == 0 ? 0 : (uint16_t)(search.node[parent].depth + 1);
    search.node[search.count++] = (struct node){.parent = parent, .action = action, .depth = depth};
}

/* ---- paths ---- */

static uint32_t path_of(uint32_t node, uint16_t *action)
{
    uint32_t length = search.node[node].depth;
    for (uint32_t i = length; i > 0; i--) {
        action[i - 1] = search.node[node].action;
        node = search.node[node].parent;
    }
    return length;
}

static void play(uint32_t node, struct world *out)
{
    uint16_t action[UINT16_MAX];
    uint32_t length = path_of(node, action);
    world_init(out);
    for (uint32_t i = 0; i < length; i++) {
        CHECK(action_apply(out, action[i]));
    }
}

static void print_step(const struct world *before, uint32_t number, uint16_t action)
{
    char text[200];
    action_describe(before, action, text, sizeof text);
    printf("    %3u. %s\n", number, text);
}

/* Ends with the action that was tried when it was found. */
static void print_path(void)
{
    uint16_t action[UINT16_MAX];
    uint32_t length = path_of(search.current, action);
    struct world *w = &search.now;
    world_init(w);
    for (uint32_t i = 0; i < length; i++) {
        print_step(w, i + 1, action[i]);
        CHECK(action_apply(w, action[i]));
    }
    print_step(w, length + 1, search.trying);
}

static const char *const usage =
    "usage: weir-model [--replicas 3|4] [--epochs N] [--records N] [--crashes N] [--corruptions N]\n"
    "                  [--disks N] [--reconfigurations N] [--learner] [--seal] [--trim] [--tell]\n"
    "                  [--timeouts] [--settled] [--prompt]\n"
    "                  [--limit MILLIONS] [--path]\n"
    "\n"
    "Searches every state of one shard's replicas within the bounds, with the real cores of\n"
    "replication and elections. Ends with \"exhausted\", \"limit\" or \"VIOLATION\" (exit status 1).\n"
    "\n"
    "  --epochs N            elections, up to 5 (2)\n"
    "  --records N           records proposed, beside each epoch's EPOCH_START (1)\n"
    "  --crashes N           of any broker; each keeps any prefix of its unsynced writes (0)\n"
    "  --corruptions N       crashes that damage the last one or two synced records (0)\n"
    "  --disks N             disks replaced by empty ones (0)\n"
    "  --reconfigurations N  one voter replaced, with 4 replicas (0)\n"
    "  --learner             the fourth replica may be fed as a learner\n"
    "  --seal, --trim        the shard may be sealed; its log may be trimmed once\n"
    "  --tell                a commit may be told by itself, not only by the next append\n"
    "  --timeouts            leaders ask again for what nobody answered\n"
    "  --settled             begin when epoch 1 is open and all is known to all\n"
    "  --prompt              every write is synced at once: larger bounds, no torn writes\n"
    "  --limit MILLIONS      stop after so many states (100)\n"
    "  --path                print how a violation came about\n";

static bool want_path;

static void report_violation(const char *what)
{
    /* NOLINTNEXTLINE(bugprone-signal-handler,cert-sig30-c): see on_abort() */
    printf("VIOLATION after %u steps, %llu states: %s\n", search.node[search.current].depth + 1u,
           (unsigned long long)search.count, what);
}

/* A CHECK of the core failed: what the search has is whole, and the process ends here. */
static void on_abort(int signal)
{
    (void)signal;
    report_violation("a CHECK of the core");
    fflush(stdout); /* NOLINT(bugprone-signal-handler,cert-sig30-c): no print was cut short */
    _Exit(1);
}

/* ---- the search ---- */

static void try_action(void *context, uint16_t action)
{
    (void)context;
    if (search.found || search.count >= search.limit) {
        return;
    }
    search.trying = action;
    world_copy(&search.now, &search.at);
    if (!action_apply(&search.now, action)) {
        return;
    }
    search.transitions++;
    if (violation != NULL) {
        search.found = true;
        return;
    }
    if (is_new(&search.now)) {
        add_node(search.current, action);
    }
}

static void run(void)
{
    static struct world first;
    world_init(&first);
    is_new(&first);
    add_node(0, 0);
    for (uint64_t i = 0; i < search.count && !search.found && search.count < search.limit; i++) {
        search.current = (uint32_t)i;
        play((uint32_t)i, &search.at);
        action_each(&search.at, try_action, NULL);
        if (i % 1000000 == 999999) {
            fprintf(stderr, "weir-model: depth %u, %llu states, %llu to go\n", search.node[i].depth,
                    (unsigned long long)search.count, (unsigned long long)(search.count - i));
        }
    }
}

static uint32_t number(const char *text, uint32_t highest)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || *text == '\0' || *end != '\0' || value > highest) {
        fprintf(stderr, "weir-model: '%s' is no number from 0 to %u\n", text, highest);
        exit(2);
    }
    return (uint32_t)value;
}

/* One knob of the bounds: a number up to `highest`, or a switch where `flag` is set. */
struct knob {
    const char *name;
    uint32_t *value, highest;
    bool *flag;
};

static uint32_t limit_millions = 100;

static const struct knob knobs[] = {
    {"replicas",         &bounds.replicas,         MODEL_REPLICAS,   NULL            },
    {"epochs",           &bounds.epochs,           MODEL_EPOCHS - 1, NULL            },
    {"records",          &bounds.records,          2,                NULL            },
    {"crashes",          &bounds.crashes,          7,                NULL            },
    {"corruptions",      &bounds.corruptions,      3,                NULL            },
    {"disks",            &bounds.disks,            3,                NULL            },
    {"reconfigurations", &bounds.reconfigurations, 7,                NULL            },
    {"limit",            &limit_millions,          4000,             NULL            },
    {"learner",          NULL,                     0,                &bounds.learner },
    {"seal",             NULL,                     0,                &bounds.seal    },
    {"trim",             NULL,                     0,                &bounds.trim    },
    {"tell",             NULL,                     0,                &bounds.tell    },
    {"timeouts",         NULL,                     0,                &bounds.timeouts},
    {"settled",          NULL,                     0,                &bounds.settled },
    {"prompt",           NULL,                     0,                &bounds.prompt  },
    {"path",             NULL,                     0,                &want_path      },
};
enum { KNOBS = sizeof knobs / sizeof knobs[0] };

static void read_options(int argc, char **argv)
{
    struct option options[KNOBS + 2] = {{0}};
    for (int i = 0; i < KNOBS; i++) {
        options[i] = (struct option){knobs[i].name, knobs[i].flag == NULL, NULL, 256 + i};
    }
    options[KNOBS] = (struct option){"help", 0, NULL, 'h'};
    bounds = (struct bounds){.replicas = 3, .epochs = 2, .records = 1};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option < 256) {
            fputs(usage, option == 'h' ? stdout : stderr);
            exit(option == 'h' ? 0 : 2);
        }
        const struct knob *knob = &knobs[option - 256];
        if (knob->flag != NULL) {
            *knob->flag = true;
        } else {
            *knob->value = number(optarg, knob->highest);
        }
    }
    search.limit = limit_millions * 1000000ull;
    bool four = bounds.learner || bounds.reconfigurations > 0;
    if (bounds.replicas < 3 || (bounds.replicas < 4 && four)) {
        fprintf(stderr, "weir-model: 3 replicas, or 4 with --learner or --reconfigurations\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    signal(SIGABRT, on_abort);
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    run();
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (search.found) {
        report_violation(violation);
        if (want_path) {
            print_path();
        }
        return 1;
    }
    printf("%s: %llu states, %llu steps, depth %u, no violation, %ld s\n",
           search.count < search.limit ? "exhausted" : "limit", (unsigned long long)search.count,
           (unsigned long long)search.transitions, search.node[search.count - 1].depth,
           (long)(end.tv_sec - begin.tv_sec));
    return 0;
}
