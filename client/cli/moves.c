/* The commands about replicas and leaderships that move. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli/program.h"

enum { LOOK_EVERY_MS = 300 };

/* "broker-4" or "4"; 0: neither. */
static uint32_t broker_number(const char *word)
{
    static const char prefix[] = "broker-";
    const char *digits =
        strncmp(word, prefix, sizeof(prefix) - 1) == 0 ? word + sizeof(prefix) - 1 : word;
    char *end = NULL;
    unsigned long number = strtoul(digits, &end, 10);
    bool good = digits[0] >= '1' && digits[0] <= '9' && *end == '\0' && number <= INT32_MAX;
    return good ? (uint32_t)number : 0;
}

static int bad_broker(const struct program *program, const char *word)
{
    (void)word;
    return program_fail(program, WEIR_INVALID, "a broker is named like broker-4, or just 4");
}

static const struct weir_broker_plan *plan_of(const struct weir_moves *moves, uint32_t broker)
{
    for (size_t i = 0; i < moves->broker_count; i++) {
        if (moves->brokers[i].broker == broker) {
            return &moves->brokers[i];
        }
    }
    return NULL;
}

static int print_moves(const struct program *program, const struct weir_moves *moves)
{
    if (program->json) {
        struct json json = {0};
        json_object_begin(&json, NULL);
        json_bool(&json, "rebalancing", moves->rebalancing);
        json_number(&json, "under_replicated", moves->under_replicated);
        json_string(&json, "waits_for", moves->waits_for);
        json_array_begin(&json, "brokers");
        for (size_t i = 0; i < moves->broker_count; i++) {
            const struct weir_broker_plan *plan = &moves->brokers[i];
            json_object_begin(&json, NULL);
            json_number(&json, "broker", plan->broker);
            json_string(&json, "mode", weir_broker_mode_name(plan->mode));
            json_number(&json, "replicas", plan->replicas);
            json_number(&json, "leaders", plan->leaders);
            json_number(&json, "drops", plan->drops);
            json_number(&json, "down_since_ms", plan->down_since_ms);
            json_object_end(&json);
        }
        json_array_end(&json);
        json_array_begin(&json, "moves");
        for (size_t i = 0; i < moves->move_count; i++) {
            const struct weir_move *move = &moves->moves[i];
            json_object_begin(&json, NULL);
            json_number(&json, "stream", move->shard >> 32);
            json_number(&json, "shard", (uint32_t)move->shard);
            json_number(&json, "from", move->from);
            json_number(&json, "to", move->to);
            json_bool(&json, "joining", move->joining);
            json_number(&json, "started_ms", move->started_ms);
            json_object_end(&json);
        }
        json_array_end(&json);
        json_object_end(&json);
        return program_print_json(program, &json);
    }
    static const char *const headings[] = {"BROKER", "PLAN", ">REPLICAS", ">LEADERS", ">TO DELETE"};
    struct table table;
    table_init(&table, headings, 5);
    for (size_t i = 0; i < moves->broker_count; i++) {
        const struct weir_broker_plan *plan = &moves->brokers[i];
        const char *mode = weir_broker_mode_name(plan->mode);
        table_add(&table, TABLE_PLAIN, "broker-%u", plan->broker);
        table_add(&table, mode[0] == '\0' ? TABLE_FAINT : TABLE_PLAIN, "%s",
                  mode[0] == '\0' ? "-" : mode);
        table_add(&table, TABLE_PLAIN, "%u", plan->replicas);
        table_add(&table, TABLE_PLAIN, "%u", plan->leaders);
        table_add(&table, TABLE_PLAIN, "%u", plan->drops);
    }
    int code = program_print_table(program, &table);
    for (size_t i = 0; i < moves->move_count; i++) {
        const struct weir_move *move = &moves->moves[i];
        (void)printf("stream %u shard %u: broker-%u to broker-%u, %s\n",
                     (unsigned)(move->shard >> 32), (unsigned)move->shard, move->from, move->to,
                     move->joining ? "joins" : "copies");
    }
    (void)printf("%zu replicas move%s; %u shards lack a replica\n", moves->move_count,
                 moves->rebalancing ? " (rebalancing)" : "", moves->under_replicated);
    if (moves->waits_for[0] != '\0') {
        (void)printf("waits: %s\n", moves->waits_for);
    }
    return code;
}

int run_moves_list(struct program *program, const char *const *words)
{
    (void)words;
    struct weir_error error;
    struct weir_moves *moves;
    if (weir_moves_status(program->client, program->timeout_ms, &moves, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    int code = print_moves(program, moves);
    weir_moves_free(moves);
    return code;
}

/* How many replicas are left to be moved; one line whenever that changes. */
static size_t left_of(const struct weir_moves *moves, uint32_t broker)
{
    if (broker == 0) {
        return moves->rebalancing ? moves->move_count + 1 : moves->move_count;
    }
    const struct weir_broker_plan *plan = plan_of(moves, broker);
    return plan == NULL ? 0 : plan->replicas + (size_t)plan->drops;
}

static void show(const struct program *program, const struct weir_moves *moves, uint32_t broker)
{
    if (program->json || program->quiet) {
        return;
    }
    const struct weir_broker_plan *plan = plan_of(moves, broker);
    if (plan != NULL) {
        (void)fprintf(stderr, "broker-%u: %u replicas left, %zu on their way, %u to delete%s%s\n",
                      broker, plan->replicas, moves->move_count, plan->drops,
                      moves->waits_for[0] != '\0' ? "; waits: " : "", moves->waits_for);
    } else {
        (void)fprintf(stderr, "%zu replicas on their way\n", moves->move_count);
    }
}

/* The last look may come when the time is over, and is to be answered. */
static uint32_t ask_ms(const struct program *program)
{
    uint32_t left_ms = program_left_ms(program);
    return left_ms < LOOK_EVERY_MS ? LOOK_EVERY_MS : left_ms;
}

/* Looks until nothing is left, or --timeout is over: whoever ends this ends only the looking. */
static int follow(struct program *program, uint32_t broker, struct weir_moves *moves)
{
    size_t shown = SIZE_MAX;
    for (;;) {
        size_t left = left_of(moves, broker), state = left * 1000 + moves->move_count;
        if (state != shown) {
            show(program, moves, broker);
            shown = state;
        }
        if (left == 0 || program->no_wait) {
            int code = program->json ? print_moves(program, moves) : EXIT_CODE_OK;
            weir_moves_free(moves);
            return code;
        }
        size_t moving = moves->move_count;
        weir_moves_free(moves);
        uint32_t left_ms = program_left_ms(program);
        if (left_ms == 0) {
            return program_fail(program, WEIR_TIMEOUT,
                                "not done within %s, %zu replicas are on their way: it goes on by "
                                "itself, weirctl moves list tells how far",
                                program->timeout, moving);
        }
        uint32_t pause_ms = left_ms < LOOK_EVERY_MS ? left_ms : LOOK_EVERY_MS;
        const struct timespec pause = {.tv_nsec = pause_ms * 1000000L};
        (void)nanosleep(&pause, NULL);
        struct weir_error error;
        if (weir_moves_status(program->client, ask_ms(program), &moves, &error) != WEIR_OK) {
            return program_error(program, &error);
        }
    }
}

static int control(struct program *program, enum weir_broker_action action, const char *word,
                   const char *zone, bool waits)
{
    struct weir_error error;
    struct weir_moves *moves;
    uint32_t broker = word == NULL ? 0 : broker_number(word);
    if (word != NULL && broker == 0) {
        return bad_broker(program, word);
    }
    if (weir_broker_control(program->client, action, broker, zone, program->timeout_ms, &moves,
                            &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    if (waits) {
        return follow(program, broker, moves);
    }
    int code = program->json ? print_moves(program, moves) : EXIT_CODE_OK;
    weir_moves_free(moves);
    return code;
}

int run_broker_drain(struct program *program, const char *const *words)
{
    return control(program, WEIR_BROKER_DRAIN, words[0], NULL, true);
}

int run_broker_undrain(struct program *program, const char *const *words)
{
    return control(program, WEIR_BROKER_CANCEL, words[0], NULL, false);
}

int run_broker_replace(struct program *program, const char *const *words)
{
    return control(program, WEIR_BROKER_REPLACE, words[0], NULL, true);
}

int run_broker_remove(struct program *program, const char *const *words)
{
    return control(program, WEIR_BROKER_REMOVE, words[0], NULL, false);
}

int run_broker_label(struct program *program, const char *const *words)
{
    static const char prefix[] = "zone=";
    if (strncmp(words[1], prefix, sizeof(prefix) - 1) != 0) {
        return program_fail(program, WEIR_INVALID, "the label is zone=ZONE");
    }
    return control(program, WEIR_BROKER_LABEL, words[0], words[1] + sizeof(prefix) - 1, false);
}

int run_rebalance(struct program *program, const char *const *words)
{
    (void)words;
    return control(program, WEIR_REBALANCE, NULL, NULL, true);
}

int run_moves_stop(struct program *program, const char *const *words)
{
    (void)words;
    return control(program, WEIR_REBALANCE_STOP, NULL, NULL, false);
}

int run_cluster_consent(struct program *program, const char *const *words)
{
    (void)words;
    return control(program, WEIR_CONSENT_FAILOVER, NULL, NULL, false);
}

static int print_moved(const struct program *program, const struct weir_leader_moved *moved)
{
    if (program->json) {
        struct json json = {0};
        json_object_begin(&json, NULL);
        json_number(&json, "broker", moved->broker);
        json_number(&json, "before", moved->before);
        json_number(&json, "pause_ms", moved->pause_ms);
        json_number(&json, "under_way", moved->under_way);
        json_object_end(&json);
        return program_print_json(program, &json);
    }
    if (moved->broker == 0) {
        (void)printf(moved->under_way == 0
                         ? "every shard is led by the broker that should lead it\n"
                         : "%u shards are still led by others\n",
                     moved->under_way);
    } else if (moved->broker == moved->before) {
        (void)printf("broker-%u leads already\n", moved->broker);
    } else {
        (void)printf("broker-%u leads instead of broker-%u; writes paused for about %u ms\n",
                     moved->broker, moved->before, moved->pause_ms);
    }
    return EXIT_CODE_OK;
}

int run_shard_force_recover(struct program *program, const char *const *words)
{
    struct weir_error error;
    struct weir_leader_moved moved;
    uint32_t shard = 0;
    uint32_t survivor = program->survivor == NULL ? 0 : broker_number(program->survivor);
    unsigned flags = (program->accept_loss ? WEIR_RECOVER_ACCEPT_LOSS : 0U) |
                     (program->insist ? WEIR_RECOVER_INSIST : 0U);
    if (weir_shard_parse(words[1], &shard) != WEIR_OK) {
        return program_fail(program, WEIR_INVALID,
                            "a shard is named like shardId-000000000003, or just 3");
    }
    if (survivor == 0) {
        return program_fail(program, WEIR_INVALID,
                            "--survivor BROKER: the replica that the shard goes on with");
    }
    if (weir_shard_force_recover(program->client, words[0], shard, survivor, flags,
                                 program->timeout_ms, &moved, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    if (program->json) {
        struct json json = {0};
        json_object_begin(&json, NULL);
        json_string(&json, "stream", words[0]);
        json_number(&json, "shard", shard);
        json_number(&json, "survivor", moved.broker);
        json_object_end(&json);
        return program_print_json(program, &json);
    }
    (void)printf(
        "shard %u of %s goes on with what broker-%u has. Acknowledged records that it does "
        "not have are lost; readers are told where. Two more replicas are made from it "
        "(weirctl moves list).\n",
        shard, words[0], moved.broker);
    return EXIT_CODE_OK;
}

int run_leader_move(struct program *program, const char *const *words)
{
    struct weir_error error;
    struct weir_leader_moved moved;
    static const char prefix[] = "shardId-";
    const char *digits = strncmp(words[1], prefix, sizeof(prefix) - 1) == 0
                             ? words[1] + sizeof(prefix) - 1
                             : words[1];
    char *end = NULL;
    unsigned long shard = strtoul(digits, &end, 10);
    uint32_t broker = broker_number(words[2]);
    if (digits[0] < '0' || digits[0] > '9' || *end != '\0' || shard > UINT32_MAX) {
        return program_fail(program, WEIR_INVALID,
                            "a shard is named like shardId-000000000003, or just 3");
    }
    if (broker == 0) {
        return bad_broker(program, words[2]);
    }
    if (weir_leader_move(program->client, words[0], (uint32_t)shard, broker, program->timeout_ms,
                         &moved, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    return print_moved(program, &moved);
}

int run_leader_balance(struct program *program, const char *const *words)
{
    (void)words;
    struct weir_error error;
    struct weir_leader_moved moved;
    if (weir_leader_move(program->client, NULL, 0, 0, program->timeout_ms, &moved, &error) !=
        WEIR_OK) {
        return program_error(program, &error);
    }
    int code = print_moved(program, &moved);
    return code == EXIT_CODE_OK && moved.under_way > 0 ? EXIT_CODE_FAILED : code;
}
