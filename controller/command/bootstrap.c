/* The first command of a cluster: its id. */
#include "controller/command/internal.h"

void command_bootstrap(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const ProtobufCBinaryData *cluster = &command->bootstrap->cluster;
    if (cluster->len != CLUSTER_ID_BYTES) {
        command_refuse(result, STATUS_INVALID, "a cluster id has %d bytes", CLUSTER_ID_BYTES);
        return;
    }
    const struct db_meta *meta = db_meta(db);
    if (!meta->has_cluster) {
        db_cluster_set(db, cluster->data);
    } else if (memcmp(meta->cluster, cluster->data, CLUSTER_ID_BYTES) != 0) {
        command_refuse(result, STATUS_WRONG_CLUSTER, "this is another cluster already");
    }
}
