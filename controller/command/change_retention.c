/* For how long a stream keeps its records. */
#include "controller/command/internal.h"

void command_change_retention(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdChangeRetention *in = command->change_retention;
    struct db_stream stream;
    if (!command_name_is_good(in->name, result)) {
        return;
    }
    if (in->retention_hours < 1 || in->retention_hours > COMMAND_RETENTION_HOURS_MAX) {
        command_refuse(result, STATUS_INVALID, "records are kept for 1 to %d hours",
                       COMMAND_RETENTION_HOURS_MAX);
        return;
    }
    if (!db_stream_find(db, in->name, &stream) || stream.state == DB_STREAM_DELETING) {
        command_refuse(result, STATUS_NOT_FOUND, "there is no stream %s", in->name);
        return;
    }
    if (stream.retention_hours != in->retention_hours) {
        stream.retention_hours = in->retention_hours;
        db_stream_put(db, &stream);
    }
    command_answer_stream(db, result, &stream);
}
