/* What the programs weir and weirctl share: options that both have, the connection, exit codes,
 * errors. */
#pragma once

#include <weir/weir.h>

#include "client/cli/args.h"
#include "client/cli/json.h"
#include "client/cli/table.h"

enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_FAILED = 1,
    EXIT_CODE_USAGE = 2,
    EXIT_CODE_NOT_FOUND = 3,
    EXIT_CODE_UNAVAILABLE = 4,
    EXIT_CODE_EXISTS = 5,
    EXIT_CODE_DENIED = 6,
};

/* For the ends of both --help texts. */
#define PROGRAM_COMMON_HELP                                                            \
    "Options of all commands:\n"                                                       \
    "  --timeout TIME     how long to look for somebody who answers, and to wait\n"    \
    "                     for what takes long: 500ms, 30s, 5m (default 30s, and for\n" \
    "                     replicas that move as long as it takes)\n"                   \
    "  --bootstrap LIST   controllers, host:port,host:port; any one that answers is\n" \
    "                     enough (environment: WEIR_BOOTSTRAP)\n"                      \
    "  --ca FILE          PEM file of the cluster's certificate authority (WEIR_CA)\n" \
    "  --cert FILE        PEM file of our certificate (WEIR_CERT)\n"                   \
    "  --key-file FILE    PEM file of its key (WEIR_KEY)\n"                            \
    "  -h, --help         this text\n"                                                 \
    "  --version          the program's version\n"                                     \
    "\n"                                                                               \
    "Exit codes:\n"                                                                    \
    "  0  done\n"                                                                      \
    "  1  failed, for a reason that is told\n"                                         \
    "  2  bad usage or options\n"                                                      \
    "  3  no such stream or shard\n"                                                   \
    "  4  nobody who could answer was reached in time, or the outcome is unknown\n"    \
    "  5  it exists already\n"                                                         \
    "  6  the certificate's role does not allow it\n"

/* The command line of either program. */
struct program {
    const char *name;
    struct args args;
    struct weir_options connection;
    uint32_t timeout_ms;
    uint64_t until_ms; /* --timeout was given: all of the command ends then (program_left_ms()) */
    struct weir_client *client;
    /* Options; each command says which of them it takes by using them. */
    char *const *rest; /* of consume-exec: what stands behind "--"; NULL: nothing */
    const char *worker, *records_max, *answer_within;
    bool push;
    bool force;                 /* of app delete */
    bool accept_loss, insist;   /* of shard force-recover */
    const char *survivor;       /* ditto */
    const char *stream;         /* of app reset, which takes --shard, too */
    const char *interval, *out; /* of top; of debug bundle */
    bool once;
    bool want_help, want_version, json, follow, aggregate, deaggregate, key_random,
        allow_fewer_zones, no_wait, quiet;
    const char *timeout, *give_up, *shards, *retention, *key, *key_field, *delimiter, *ack_log,
        *from, *from_what, *shard, *count, *key_name, *at, *alias, *description, *days,
        *compression, *gather, *aggregate_bytes, *producers, *consumers, *record_bytes, *rate,
        *duration, *keys;
    struct {
        const char *write_bytes, *write_records, *read_bytes, *read_calls, *iterator_calls,
            *subscription_bytes;
    } limits;
};

struct command {
    const char *first, *second; /* "stream", "create"; second NULL: one word */
    size_t words;               /* that must follow */
    const char *usage;
    int (*run)(struct program *program, const char *const *words);
};

/* Parses, connects and runs: the exit code. `help` in parts, NULL behind the last. */
int program_main(const char *name, const char *const *help, const struct command *commands,
                 size_t count, int argc, char **argv);

/* One more connection. What the command line does not say comes from the environment. */
WEIR_NODISCARD enum weir_status program_connect(const struct program *program,
                                                struct weir_client **out, struct weir_error *error);

/* What a command may wait for its next step: of --timeout what is left, 0 when it is over; without
 * it, the default each time. */
uint32_t program_left_ms(const struct program *program);

/* Prints "weir: TEXT" to standard error; returns the exit code for `status`. */
int program_fail(const struct program *program, enum weir_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int program_error(const struct program *program, const struct weir_error *error);

/* Prints what was written, with a line end; releases it. The exit code. */
int program_print_json(const struct program *program, struct json *json);
int program_print_table(const struct program *program, struct table *table);

/* streams.c */
int run_stream_create(struct program *program, const char *const *words);
int run_stream_delete(struct program *program, const char *const *words);
int run_stream_list(struct program *program, const char *const *words);
int run_stream_describe(struct program *program, const char *const *words);
int run_stream_retention(struct program *program, const char *const *words);
int run_stream_reshard(struct program *program, const char *const *words);
int run_shard_list(struct program *program, const char *const *words);
int run_shard_split(struct program *program, const char *const *words);
int run_shard_merge(struct program *program, const char *const *words);

/* apps.c */
int run_app_list(struct program *program, const char *const *words);
int run_app_describe(struct program *program, const char *const *words);
int run_app_reset(struct program *program, const char *const *words);
int run_app_delete(struct program *program, const char *const *words);

/* limits.c */
int run_stream_limits(struct program *program, const char *const *words);
int run_shard_metrics(struct program *program, const char *const *words);

/* operate.c */
int run_cluster_status(struct program *program, const char *const *words);
int run_broker_list(struct program *program, const char *const *words);
int run_controller_list(struct program *program, const char *const *words);

/* processes.c, top.c, bundle.c */
int run_log_level(struct program *program, const char *const *words);
int run_metrics(struct program *program, const char *const *words);
int run_top(struct program *program, const char *const *words);
int run_debug_bundle(struct program *program, const char *const *words);

/* controllers.c */
int run_controller_add(struct program *program, const char *const *words);
int run_controller_replace(struct program *program, const char *const *words);
int run_controller_remove(struct program *program, const char *const *words);
int run_controller_backup(struct program *program, const char *const *words);
int run_upgrade_check(struct program *program, const char *const *words);

/* moves.c */
int run_moves_list(struct program *program, const char *const *words);
int run_shard_force_recover(struct program *program, const char *const *words);
int run_cluster_consent(struct program *program, const char *const *words);
int run_moves_stop(struct program *program, const char *const *words);
int run_rebalance(struct program *program, const char *const *words);
int run_broker_drain(struct program *program, const char *const *words);
int run_broker_undrain(struct program *program, const char *const *words);
int run_broker_replace(struct program *program, const char *const *words);
int run_broker_remove(struct program *program, const char *const *words);
int run_broker_label(struct program *program, const char *const *words);
int run_leader_move(struct program *program, const char *const *words);
int run_leader_balance(struct program *program, const char *const *words);
int run_balance_status(struct program *program, const char *const *words);
int run_balance_on(struct program *program, const char *const *words);
int run_balance_off(struct program *program, const char *const *words);
int run_balance_set(struct program *program, const char *const *words);

/* keys.c */
int run_key_create(struct program *program, const char *const *words);
int run_key_list(struct program *program, const char *const *words);
int run_key_enable(struct program *program, const char *const *words);
int run_key_disable(struct program *program, const char *const *words);
int run_key_delete(struct program *program, const char *const *words);

/* keyring.c */
int run_keyring_create(struct program *program, const char *const *words);
int run_keyring_list(struct program *program, const char *const *words);
int run_keyring_describe(struct program *program, const char *const *words);
int run_keyring_enable(struct program *program, const char *const *words);
int run_keyring_disable(struct program *program, const char *const *words);
int run_keyring_rotate(struct program *program, const char *const *words);
int run_keyring_delete(struct program *program, const char *const *words);
int run_keyring_cancel_deletion(struct program *program, const char *const *words);
int run_keyring_alias(struct program *program, const char *const *words);
int run_keyring_unalias(struct program *program, const char *const *words);

/* control.c */
int run_stream_encrypt(struct program *program, const char *const *words);
int run_stream_decrypt(struct program *program, const char *const *words);
int run_stream_mode(struct program *program, const char *const *words);
int run_stream_record_size(struct program *program, const char *const *words);
int run_stream_monitor(struct program *program, const char *const *words);
int run_stream_unmonitor(struct program *program, const char *const *words);
int run_stream_tag(struct program *program, const char *const *words);
int run_stream_untag(struct program *program, const char *const *words);
int run_consumer_register(struct program *program, const char *const *words);
int run_consumer_deregister(struct program *program, const char *const *words);

/* consume.c, consume_exec.c */
int run_consume(struct program *program, const char *const *words);
int run_consume_exec(struct program *program, const char *const *words);

/* put.c, get.c */
int run_put(struct program *program, const char *const *words);
int run_get(struct program *program, const char *const *words);

/* How records travel: --compression, --aggregate, --aggregate-bytes, --gather. INVALID with a
 * sentence. */
NODISCARD enum status take_encoding(const struct program *program,
                                    struct weir_producer_options *out, struct error *error);

/* bench.c */
int run_bench(struct program *program, const char *const *words);
