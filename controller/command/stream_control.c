/* One change of a stream beside its shards. All rules are checked on copies of the rows; only a
 * change that is allowed stores them. */
#include "controller/command/stream_control.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/cleanup.h"

bool control_refuse_state(struct control *c, enum db_stream_state state)
{
    static const char *const names[] = {
        [DB_STREAM_CREATING] = "CREATING",
        [DB_STREAM_ACTIVE] = "ACTIVE",
        [DB_STREAM_DELETING] = "DELETING",
        [DB_STREAM_UPDATING] = "UPDATING",
    };
    command_refuse(c->result, STATUS_IN_USE,
                   "Stream %s under account %s not ACTIVE, instead in state %s", c->stream.name,
                   settings_account(c->settings), names[state]);
    return false;
}

static bool needs_active(struct control *c)
{
    return c->stream.state == DB_STREAM_ACTIVE || control_refuse_state(c, c->stream.state);
}

bool control_begin_update(struct control *c)
{
    c->stream.state = DB_STREAM_UPDATING;
    c->attributes->updating = ++c->attributes->change;
    c->stream_changed = true;
    return true;
}

bool control_no_memory(struct control *c)
{
    c->result->status = STATUS_NO_MEMORY;
    return false;
}

uint32_t control_limit(uint32_t setting, uint32_t fallback)
{
    return setting == 0 ? fallback : setting;
}

/* ---- one function per kind: true when the rows are to be stored
 * ---------------------------------- */

static bool change_retention(struct control *c)
{
    const Weir__StreamControl__Retention *in = c->in->retention;
    uint32_t now = c->stream.retention_hours;
    if (!needs_active(c)) {
        return false;
    }
    if (in->hours < COMMAND_RETENTION_HOURS || in->hours > COMMAND_RETENTION_HOURS_MAX) {
        bool low = in->hours < COMMAND_RETENTION_HOURS;
        command_refuse(c->result, STATUS_INVALID,
                       "%s allowed retention period is %d hours. Requested retention period (%u "
                       "hours) is too %s.",
                       low ? "Minimum" : "Maximum",
                       low ? COMMAND_RETENTION_HOURS : COMMAND_RETENTION_HOURS_MAX, in->hours,
                       low ? "short" : "long");
        return false;
    }
    bool shrinks = in->hours<now, grows = in->hours> now;
    if ((shrinks && in->direction == WEIR__STREAM_CONTROL__DIRECTION__INCREASE) ||
        (grows && in->direction == WEIR__STREAM_CONTROL__DIRECTION__DECREASE)) {
        command_refuse(c->result, STATUS_INVALID,
                       "Requested retention period (%u hours) for stream %s can not be %s than "
                       "existing retention period (%u hours). Use %sRetentionPeriod API.",
                       in->hours, c->stream.name, shrinks ? "shorter" : "longer", now,
                       shrinks ? "Decrease" : "Increase");
        return false;
    }
    c->stream.retention_hours = in->hours;
    return in->hours == now || control_begin_update(c);
}

static bool change_monitoring(struct control *c)
{
    const Weir__StreamControl__Monitoring *in = c->in->monitoring;
    if (!needs_active(c)) {
        return false;
    }
    uint32_t wanted = (c->attributes->monitoring | (in->enable & MONITORING_ALL)) & ~in->disable;
    if (wanted == c->attributes->monitoring) {
        return true;
    }
    c->attributes->monitoring = wanted;
    return control_begin_update(c);
}

static void count_on_demand(const struct db_stream *stream, void *context)
{
    struct control *c = context;
    Weir__StreamAttributes *attributes = db_attributes_get(c->db, stream->id);
    c->counted += attributes != NULL && attributes->mode == WEIR__STREAM_MODE__STREAM_ON_DEMAND;
    attributes_free(&attributes);
}

bool control_may_be_on_demand(struct control *c)
{
    uint32_t limit =
        control_limit(c->settings->on_demand_stream_limit, COMMAND_ON_DEMAND_STREAMS_MAX);
    c->counted = 0;
    db_stream_each(c->db, count_on_demand, c);
    if (limit != UINT32_MAX && c->counted >= limit) {
        command_refuse(c->result, STATUS_LIMIT,
                       "Account %s has %u on-demand streams, as many as its limit of %u allows.",
                       settings_account(c->settings), c->counted, limit);
        return false;
    }
    return true;
}

bool control_warm_is_good(struct control *c, Weir__StreamMode mode, uint32_t mibps)
{
    if (mode != WEIR__STREAM_MODE__STREAM_ON_DEMAND) {
        command_refuse(c->result, STATUS_VALIDATION,
                       "Warm throughput is for streams in ON_DEMAND mode only.");
    } else if (c->settings->commitment == WEIR__COMMITMENT__COMMITMENT_DISABLED) {
        command_refuse(c->result, STATUS_VALIDATION,
                       "Warm throughput needs the minimum throughput billing commitment of the "
                       "account (UpdateAccountSettings).");
    } else if (mibps > COMMAND_WARM_MIBPS_MAX) {
        command_refuse(c->result, STATUS_INVALID, "Warm throughput is at most %d MiB/s.",
                       COMMAND_WARM_MIBPS_MAX);
    } else {
        return true;
    }
    return false;
}

bool control_count_change(struct control *c, uint32_t limit, uint64_t **times, size_t *count,
                          const char *what)
{
    *count = times_within_day(*times, *count, c->now_ms);
    if (limit != UINT32_MAX && *count >= limit) {
        command_refuse(
            c->result, STATUS_LIMIT,
            "The %s of stream %s under account %s was changed %zu times within 24 hours; "
            "the limit is %u.",
            what, c->stream.name, settings_account(c->settings), *count, limit);
        return false;
    }
    return time_append(times, count, c->now_ms) || control_no_memory(c);
}

static bool change_mode(struct control *c)
{
    const Weir__StreamControl__Mode *in = c->in->mode;
    Weir__StreamAttributes *a = c->attributes;
    bool on_demand = in->mode == WEIR__STREAM_MODE__STREAM_ON_DEMAND;
    if (!needs_active(c) || (in->has_warm && !control_warm_is_good(c, in->mode, in->warm_mibps))) {
        return false;
    }
    if (!on_demand && in->mode != WEIR__STREAM_MODE__STREAM_PROVISIONED) {
        command_refuse(c->result, STATUS_INVALID, "A stream's mode is PROVISIONED or ON_DEMAND.");
        return false;
    }
    uint32_t warm = in->has_warm ? in->warm_mibps : on_demand ? a->warm_mibps : 0;
    if (in->mode == a->mode && warm == a->warm_mibps) {
        return true;
    }
    if (in->mode != a->mode) {
        uint32_t limit = control_limit(c->settings->mode_change_limit, COMMAND_MODE_CHANGES_MAX);
        if ((on_demand && !control_may_be_on_demand(c)) ||
            !control_count_change(c, limit, &a->mode_changes_ms, &a->n_mode_changes_ms, "mode")) {
            return false;
        }
    }
    a->mode = in->mode;
    a->warm_mibps = warm;
    return control_begin_update(c);
}

static bool change_max_record(struct control *c)
{
    uint32_t kib = c->in->max_record->kib;
    if (!needs_active(c)) {
        return false;
    }
    if (!control_max_record_is_good(c->result, kib)) {
        return false;
    }
    uint32_t now = c->attributes->max_record_kib;
    if (kib == (now == 0 ? COMMAND_MAX_RECORD_KIB : now)) {
        return true;
    }
    c->attributes->max_record_kib = kib;
    return control_begin_update(c);
}

bool control_max_record_is_good(struct db_result *result, uint32_t kib)
{
    if (kib >= COMMAND_MAX_RECORD_KIB && kib <= COMMAND_MAX_RECORD_KIB_MAX) {
        return true;
    }
    command_refuse(result, STATUS_VALIDATION,
                   "The largest record of a stream is %d to %d KiB, not %u.",
                   COMMAND_MAX_RECORD_KIB, COMMAND_MAX_RECORD_KIB_MAX, kib);
    return false;
}

static bool change_warm(struct control *c)
{
    uint32_t mibps = c->in->warm->mibps;
    if (!needs_active(c) || !control_warm_is_good(c, c->attributes->mode, mibps)) {
        return false;
    }
    if (mibps == c->attributes->warm_mibps) {
        return true;
    }
    c->attributes->warm_mibps = mibps;
    return control_begin_update(c);
}

static bool change_limits(struct control *c)
{
    Weir__StreamAttributes *a = c->attributes;
    if (!needs_active(c)) {
        return false;
    }
    Weir__StreamLimits *copy = malloc(sizeof(*copy));
    if (copy == NULL) {
        return control_no_memory(c);
    }
    weir__stream_limits__init(copy);
    const Weir__StreamLimits *in = c->in->stream_limits;
    copy->write_bytes = in->write_bytes;
    copy->write_records = in->write_records;
    copy->read_bytes = in->read_bytes;
    copy->read_calls = in->read_calls;
    copy->iterator_calls = in->iterator_calls;
    copy->subscription_bytes = in->subscription_bytes;
    weir__stream_limits__free_unpacked(a->limits, NULL);
    a->limits = copy;
    return control_begin_update(c);
}

/* Deletes and answers by itself, so there is nothing left to store. */
static bool delete_stream(struct control *c)
{
    if (c->stream.state == DB_STREAM_DELETING) {
        return control_refuse_state(c, c->stream.state);
    }
    if (c->attributes->n_consumers > 0 && !c->in->delete_stream->enforce_consumer_deletion) {
        command_refuse(c->result, STATUS_IN_USE,
                       "Stream %s under account %s has registered consumers: deregister them "
                       "first, or set EnforceConsumerDeletion.",
                       c->stream.name, settings_account(c->settings));
        return false;
    }
    command_begin_deletion(c->db, &c->stream, c->result);
    return false;
}

/* ---- the whole
 * ------------------------------------------------------------------------------------- */

static bool apply(struct control *c)
{
    switch (c->in->kind_case) {
    case WEIR__STREAM_CONTROL__KIND_RETENTION:
        return change_retention(c);
    case WEIR__STREAM_CONTROL__KIND_MONITORING:
        return change_monitoring(c);
    case WEIR__STREAM_CONTROL__KIND_MODE:
        return change_mode(c);
    case WEIR__STREAM_CONTROL__KIND_MAX_RECORD:
        return change_max_record(c);
    case WEIR__STREAM_CONTROL__KIND_ENCRYPTION:
        return control_encryption(c);
    case WEIR__STREAM_CONTROL__KIND_WARM:
        return change_warm(c);
    case WEIR__STREAM_CONTROL__KIND_TAGS:
        return control_tags(c);
    case WEIR__STREAM_CONTROL__KIND_POLICY:
        return control_policy(c);
    case WEIR__STREAM_CONTROL__KIND_REGISTER_CONSUMER:
        return control_register(c);
    case WEIR__STREAM_CONTROL__KIND_DEREGISTER_CONSUMER:
        return control_deregister(c);
    case WEIR__STREAM_CONTROL__KIND_DELETE_STREAM:
        return delete_stream(c);
    case WEIR__STREAM_CONTROL__KIND_STREAM_LIMITS:
        return change_limits(c);
    case WEIR__STREAM_CONTROL__KIND_ACCOUNT:
    case WEIR__STREAM_CONTROL__KIND_LIMITS:
    case WEIR__STREAM_CONTROL__KIND__NOT_SET:
    case _WEIR__STREAM_CONTROL__KIND__CASE_IS_INT_SIZE:
    default:
        UNREACHABLE(); /* command_stream_control() */
    }
}

static bool find_stream(struct control *c)
{
    if (db_stream_find(c->db, c->in->name, &c->stream) &&
        (c->in->stream == 0 || c->in->stream == c->stream.id)) {
        c->attributes = db_attributes_get(c->db, c->stream.id);
        return c->attributes != NULL || control_no_memory(c);
    }
    command_refuse(c->result, STATUS_NOT_FOUND, "Stream %.*s under account %s not found.",
                   STREAM_NAME_MAX, c->in->name, settings_account(c->settings));
    return false;
}

static void store(struct control *c)
{
    size_t size = weir__stream_attributes__get_packed_size(c->attributes);
    if (size > ATTRIBUTES_BYTES_MAX) {
        command_refuse(c->result, STATUS_LIMIT,
                       "The tags and policies of stream %s under account %s would need %zu bytes "
                       "together; the limit is %d.",
                       c->stream.name, settings_account(c->settings), size, ATTRIBUTES_BYTES_MAX);
        return;
    }
    db_attributes_put(c->db, c->stream.id, c->attributes);
    if (c->stream_changed) {
        db_stream_put(c->db, &c->stream);
    }
    command_answer_change(c->db, c->result, &c->stream, c->attributes, &c->before, c->consumer);
}

static void control_release(struct control *c)
{
    attributes_free(&c->attributes);
    settings_free(&c->settings);
}

void command_stream_control(struct db *db, const Weir__Command *command, struct db_result *result)
{
    AUTO(control_release)
    struct control c = {.db = db,
                        .in = command->stream_control->control,
                        .result = result,
                        .settings = db_settings_get(db),
                        .now_ms = db_meta(db)->time_ms};
    if (c.settings == NULL) {
        (void)control_no_memory(&c);
    } else if (c.in->kind_case == WEIR__STREAM_CONTROL__KIND_ACCOUNT) {
        control_account(&c);
    } else if (c.in->kind_case == WEIR__STREAM_CONTROL__KIND_LIMITS) {
        control_limits(&c);
    } else if (find_stream(&c)) {
        weir__stream_attributes__init(&c.before);
        c.before.monitoring = c.attributes->monitoring;
        c.before.mode = c.attributes->mode;
        c.before.max_record_kib = c.attributes->max_record_kib;
        c.before.warm_mibps = c.attributes->warm_mibps;
        c.before.encrypted = c.attributes->encrypted;
        if (apply(&c)) {
            store(&c);
        }
    }
}
