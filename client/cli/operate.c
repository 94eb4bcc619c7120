/* The commands about the cluster: status, brokers, controllers. */
#include <inttypes.h>
#include <string.h>

#include "client/cli/program.h"
#include "client/cli/text.h"

static void broker_fields(struct json *json, const struct weir_broker_status *broker)
{
    json_object_begin(json, NULL);
    json_number(json, "id", broker->id);
    json_string(json, "name", broker->name);
    json_string(json, "zone", broker->zone);
    json_string(json, "host", broker->host);
    json_number(json, "port", broker->port);
    json_bool(json, "alive", broker->alive);
    json_bool(json, "session", broker->session);
    json_number(json, "beat_age_ms", broker->beat_age_ms);
    json_number(json, "boot", broker->boot);
    json_number(json, "disk_gen", broker->disk_gen);
    json_number(json, "replicas", broker->replicas);
    json_number(json, "leaders", broker->leaders);
    json_number(json, "disk_bytes", broker->disk_bytes);
    json_number(json, "disk_free_bytes", broker->disk_free_bytes);
    json_string(json, "disk_state", broker->disk_state);
    json_number(json, "unlisted", broker->unlisted);
    json_number(json, "quarantined", broker->quarantined);
    json_number(json, "reclaimed", broker->reclaimed);
    json_number(json, "damaged_replicas", broker->holes);
    json_number(json, "damage_found", broker->damage_found);
    json_number(json, "damage_repaired", broker->damage_repaired);
    json_number(json, "segments_differ", broker->segments_differ);
    json_number(json, "scrub_passes", broker->scrub_passes);
    json_number(json, "scrub_finished_ms", broker->scrub_finished_ms);
    json_number(json, "scrub_permille", broker->scrub_permille);
    json_bool(json, "scrub_late", broker->scrub_late);
    json_bool(json, "held", broker->held);
    json_bool(json, "isolated", broker->isolated_ms != 0);
    json_string(json, "unfit_to_lead", broker->unfit);
    json_signed(json, "clock_offset_ms", broker->clock_offset_ms);
    json_number(json, "sync_p99_us", broker->sync_us);
    json_number(json, "late_us", broker->stall_us);
    json_object_end(json);
}

static void controller_fields(struct json *json, const struct weir_controller_status *controller)
{
    json_object_begin(json, NULL);
    json_number(json, "id", controller->id);
    json_string(json, "name", controller->name);
    json_string(json, "host", controller->host);
    json_number(json, "port", controller->port);
    json_string(json, "state", controller->state);
    json_number(json, "term", controller->term);
    json_number(json, "last_index", controller->last_index);
    json_number(json, "commit_index", controller->commit_index);
    json_number(json, "applied_index", controller->applied_index);
    json_number(json, "match_index", controller->match_index);
    json_number(json, "compared_index", controller->compared_index);
    json_bool(json, "differs", controller->differs);
    json_bool(json, "voter", controller->voter);
    json_string(json, "software", controller->software);
    json_number(json, "protocol", controller->protocol);
    json_object_end(json);
}

static void brokers_array(struct json *json, const struct weir_cluster *cluster)
{
    json_array_begin(json, "brokers");
    for (size_t i = 0; i < cluster->broker_count; i++) {
        broker_fields(json, &cluster->brokers[i]);
    }
    json_array_end(json);
}

static void controllers_array(struct json *json, const struct weir_cluster *cluster)
{
    json_array_begin(json, "controllers");
    for (size_t i = 0; i < cluster->controller_count; i++) {
        controller_fields(json, &cluster->controllers[i]);
    }
    json_array_end(json);
}

/* What nobody may overlook, below the table. */
static void print_strays(const struct weir_broker_status *broker)
{
    if (broker->reclaimed > 0) {
        (void)printf("%s: %u shards that the cluster lists lie in its quarantine: see its log\n",
                     broker->name, broker->reclaimed);
    }
    if (broker->unlisted > 0) {
        (void)printf("%s: %u shards on its disk are not listed by the cluster: they will go to "
                     "quarantine\n",
                     broker->name, broker->unlisted);
    }
    if (broker->quarantined > 0) {
        (void)printf("%s: %u shards or segments in quarantine\n", broker->name,
                     broker->quarantined);
    }
}

/* Its leaderships move to other brokers, and none comes. */
static void print_unfit(const struct weir_broker_status *broker)
{
    if (strcmp(broker->unfit, "clock off") == 0) {
        (void)printf("%s: its clock is off by %" PRIi64 " ms: others lead instead. Set it\n",
                     broker->name, broker->clock_offset_ms);
    } else if (strcmp(broker->unfit, "slow disk") == 0) {
        (void)printf(
            "%s: its disk is or was slow and others' are not (now %u ms a write at worst): "
            "others lead instead\n",
            broker->name, broker->sync_us / 1000);
    } else if (strcmp(broker->unfit, "slow") == 0) {
        (void)printf("%s: it is or was late and others are not (now %u ms at worst): others lead "
                     "instead\n",
                     broker->name, broker->stall_us / 1000);
    }
}

static void print_damage(const struct weir_broker_status *broker)
{
    if (broker->held) {
        (void)printf("%s: silent, but so are too many brokers at once: nothing is failed over for "
                     "it. If it is dead: weirctl cluster consent-failover\n",
                     broker->name);
    }
    if (broker->isolated_ms != 0) {
        (void)printf(
            "%s: other brokers reach it, the active controller does not: it is failed over "
            "after 30 s. If it is dead: weirctl cluster consent-failover\n",
            broker->name);
    }
    print_unfit(broker);
    if (broker->holes > 0) {
        (void)printf("%s: %u replicas are damaged and no other replica can repair them now\n",
                     broker->name, broker->holes);
    }
    if (broker->damage_found > 0) {
        (void)printf("%s: %" PRIu64 " damaged pieces were found on its disk since it started, "
                     "%" PRIu64 " of them are repaired: its disk may be failing\n",
                     broker->name, broker->damage_found, broker->damage_repaired);
    }
    if (broker->segments_differ > 0) {
        (void)printf("%s: %" PRIu64 " segments differ from those of other brokers: see its log\n",
                     broker->name, broker->segments_differ);
    }
    if (broker->scrub_late) {
        (void)printf("%s: checking its disk takes longer than scrub-period: raise scrub-rate\n",
                     broker->name);
    }
}

static int print_brokers(const struct program *program, const struct weir_cluster *cluster)
{
    static const char *const headings[] = {"BROKER",    "ZONE",     "ADDRESS", "STATE",
                                           ">REPLICAS", ">LEADERS", ">FREE",   "DISK"};
    struct table table;
    table_init(&table, headings, 8);
    for (size_t i = 0; i < cluster->broker_count; i++) {
        const struct weir_broker_status *broker = &cluster->brokers[i];
        bool disk_ok = strcmp(broker->disk_state, "ok") == 0;
        char size[TEXT_SIZE_BYTES];
        text_size(broker->disk_free_bytes, size);
        table_add(&table, TABLE_PLAIN, "%s", broker->name);
        table_add(&table, TABLE_PLAIN, "%s", broker->zone);
        table_add(&table, TABLE_PLAIN, "%.60s:%u", broker->host, (unsigned)broker->port);
        if (broker->alive && broker->isolated_ms != 0) {
            table_add(&table, TABLE_BAD, "isolated");
        } else if (broker->alive && broker->unfit[0] != '\0') {
            table_add(&table, TABLE_BAD, "%s", broker->unfit);
        } else if (broker->alive && broker->session) {
            table_add(&table, TABLE_GOOD, "up");
        } else {
            table_add(&table, TABLE_BAD, "%s", broker->alive ? "silent" : "down");
        }
        table_add(&table, TABLE_PLAIN, "%u", broker->replicas);
        table_add(&table, TABLE_PLAIN, "%u", broker->leaders);
        table_add(&table, TABLE_PLAIN, "%s", broker->session ? size : "?");
        table_add(&table, disk_ok ? TABLE_GOOD : TABLE_BAD, "%s",
                  broker->session ? broker->disk_state : "?");
    }
    int code = program_print_table(program, &table);
    for (size_t i = 0; i < cluster->broker_count; i++) {
        print_strays(&cluster->brokers[i]);
        print_damage(&cluster->brokers[i]);
    }
    return code;
}

static int print_controllers(const struct program *program, const struct weir_cluster *cluster)
{
    static const char *const headings[] = {"CONTROLLER", "ADDRESS",  "STATE",
                                           ">TERM",      ">APPLIED", ">MATCH"};
    struct table table;
    table_init(&table, headings, 6);
    for (size_t i = 0; i < cluster->controller_count; i++) {
        const struct weir_controller_status *controller = &cluster->controllers[i];
        bool active = strcmp(controller->state, "active") == 0;
        bool away = strcmp(controller->state, "unreachable") == 0;
        table_add(&table, TABLE_PLAIN, "%s", controller->name);
        table_add(&table, TABLE_PLAIN, "%.60s:%u", controller->host, (unsigned)controller->port);
        table_add(&table,
                  active ? TABLE_GOOD
                  : away ? TABLE_BAD
                         : TABLE_PLAIN,
                  "%s", controller->state);
        /* Only the one that answers knows these of itself. */
        if (controller->term != 0) {
            table_add(&table, TABLE_PLAIN, "%" PRIu64, controller->term);
            table_add(&table, TABLE_PLAIN, "%" PRIu64, controller->applied_index);
        } else {
            table_add(&table, TABLE_FAINT, "-");
            table_add(&table, TABLE_FAINT, "-");
        }
        table_add(&table, TABLE_PLAIN, "%" PRIu64, controller->match_index);
    }
    int code = program_print_table(program, &table);
    for (size_t i = 0; i < cluster->controller_count; i++) {
        if (cluster->controllers[i].differs) {
            (void)printf("%s: its state differs from the active controller's after entry %" PRIu64
                         ": replace it\n",
                         cluster->controllers[i].name, cluster->controllers[i].compared_index);
        }
    }
    return code;
}

static void active_field(struct json *json, const struct weir_cluster *cluster)
{
    for (size_t i = 0; i < cluster->controller_count; i++) {
        if (cluster->controllers[i].id == cluster->active_controller) {
            json_string(json, "active_controller", cluster->controllers[i].name);
            return;
        }
    }
    json_null(json, "active_controller");
}

static int print_cluster(const struct program *program, const struct weir_cluster *cluster)
{
    if (program->json) {
        struct json json = {0};
        json_object_begin(&json, NULL);
        json_string(&json, "cluster", cluster->id);
        json_string(&json, "software", cluster->software);
        json_number(&json, "metadata_version", cluster->version);
        active_field(&json, cluster);
        json_number(&json, "streams", cluster->streams);
        json_number(&json, "shards", cluster->shards);
        json_number(&json, "shards_without_leader", cluster->shards_without_leader);
        controllers_array(&json, cluster);
        brokers_array(&json, cluster);
        json_object_end(&json);
        return program_print_json(program, &json);
    }
    (void)printf("cluster   %s (%s), metadata version %" PRIu64 "\n", cluster->id,
                 cluster->software, cluster->version);
    (void)printf("streams   %u with %u shards, %u of them without a leader\n\n", cluster->streams,
                 cluster->shards, cluster->shards_without_leader);
    int code = print_controllers(program, cluster);
    (void)printf("\n");
    return code != EXIT_CODE_OK ? code : print_brokers(program, cluster);
}

static int with_cluster(struct program *program, int (*print)(const struct program *program,
                                                              const struct weir_cluster *cluster))
{
    struct weir_error error;
    struct weir_cluster *cluster;
    if (weir_cluster_status(program->client, program->timeout_ms, &cluster, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    int code = print(program, cluster);
    weir_cluster_free(cluster);
    return code;
}

static int list_brokers(const struct program *program, const struct weir_cluster *cluster)
{
    if (!program->json) {
        return print_brokers(program, cluster);
    }
    struct json json = {0};
    json_object_begin(&json, NULL);
    brokers_array(&json, cluster);
    json_object_end(&json);
    return program_print_json(program, &json);
}

static int list_controllers(const struct program *program, const struct weir_cluster *cluster)
{
    if (!program->json) {
        return print_controllers(program, cluster);
    }
    struct json json = {0};
    json_object_begin(&json, NULL);
    controllers_array(&json, cluster);
    json_object_end(&json);
    return program_print_json(program, &json);
}

int run_cluster_status(struct program *program, const char *const *words)
{
    (void)words;
    return with_cluster(program, print_cluster);
}

int run_broker_list(struct program *program, const char *const *words)
{
    (void)words;
    return with_cluster(program, list_brokers);
}

int run_controller_list(struct program *program, const char *const *words)
{
    (void)words;
    return with_cluster(program, list_controllers);
}
