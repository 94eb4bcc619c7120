/* The first command of a cluster: its id. */
#include "base/cleanup.h"
#include "controller/command/attributes.h"
#include "controller/command/internal.h"

enum { ACCOUNT_DIGITS = 12, REGION_MAX = 32 };

/* Of every ARN, so they never change afterwards. */
static bool settings_are_good(const Weir__CmdBootstrap *in, struct db_result *result)
{
    size_t account = strlen(in->account_id), region = strlen(in->region);
    if (account != 0 &&
        (account != ACCOUNT_DIGITS || strspn(in->account_id, "0123456789") != account)) {
        command_refuse(result, STATUS_INVALID, "an account id has %d digits", ACCOUNT_DIGITS);
        return false;
    }
    if (region > REGION_MAX ||
        strspn(in->region, "abcdefghijklmnopqrstuvwxyz0123456789-") != region) {
        command_refuse(result, STATUS_INVALID, "a region has at most %d characters of a-z 0-9 -",
                       REGION_MAX);
        return false;
    }
    return true;
}

static void put_settings(struct db *db, const Weir__CmdBootstrap *in, struct db_result *result)
{
    AUTO(settings_free) Weir__ClusterSettings *settings = db_settings_get(db);
    if (settings != NULL && settings->region[0] != '\0') {
        return; /* a cluster is made once */
    }
    if (settings == NULL ||
        !text_set(&settings->account_id,
                  in->account_id[0] != '\0' ? in->account_id : COMMAND_ACCOUNT) ||
        !text_set(&settings->region, in->region[0] != '\0' ? in->region : COMMAND_REGION)) {
        result->status = STATUS_NO_MEMORY;
        return;
    }
    db_settings_put(db, settings);
}

void command_bootstrap(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const ProtobufCBinaryData *cluster = &command->bootstrap->cluster;
    if (cluster->len != CLUSTER_ID_BYTES) {
        command_refuse(result, STATUS_INVALID, "a cluster id has %d bytes", CLUSTER_ID_BYTES);
        return;
    }
    const struct db_meta *meta = db_meta(db);
    if (meta->has_cluster && memcmp(meta->cluster, cluster->data, CLUSTER_ID_BYTES) != 0) {
        command_refuse(result, STATUS_WRONG_CLUSTER, "this is another cluster already");
        return;
    }
    if (settings_are_good(command->bootstrap, result)) {
        if (!meta->has_cluster) {
            db_cluster_set(db, cluster->data);
        }
        put_settings(db, command->bootstrap, result); /* older versions made clusters without */
    }
}
