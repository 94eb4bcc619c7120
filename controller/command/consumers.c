/* Registered consumers of a stream. They become ACTIVE, or go, when the brokers have been told. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "controller/command/stream_control.h"

Weir__Consumer *control_consumer(struct control *c, const char *name)
{
    for (size_t i = 0; i < c->attributes->n_consumers; i++) {
        Weir__Consumer *consumer = c->attributes->consumers[i];
        if (strcmp(consumer->name, name) == 0 &&
            (c->in->consumer_s == 0 || c->in->consumer_s == consumer->created_s)) {
            return consumer;
        }
    }
    command_refuse(c->result, STATUS_NOT_FOUND,
                   "Consumer %.80s of stream %.80s under account %s not found.", name,
                   c->stream.name, settings_account(c->settings));
    return NULL;
}

/* Where the name is, or where it would be put. */
static size_t find(const Weir__StreamAttributes *a, const char *name, bool *out_there)
{
    size_t at = 0;
    while (at < a->n_consumers && strcmp(a->consumers[at]->name, name) < 0) {
        at++;
    }
    *out_there = at < a->n_consumers && strcmp(a->consumers[at]->name, name) == 0;
    return at;
}

static bool may_have_another(struct control *c)
{
    const Weir__StreamAttributes *a = c->attributes;
    bool committed = c->settings->commitment != WEIR__COMMITMENT__COMMITMENT_DISABLED;
    uint32_t limit =
        control_limit(c->settings->consumer_limit,
                      committed ? COMMAND_CONSUMERS_COMMITTED_MAX : COMMAND_CONSUMERS_MAX);
    size_t creating = 0;
    for (size_t i = 0; i < a->n_consumers; i++) {
        creating += a->consumers[i]->state == WEIR__CONSUMER_STATE__CONSUMER_CREATING;
    }
    if (limit != UINT32_MAX && a->n_consumers >= limit) {
        command_refuse(c->result, STATUS_LIMIT,
                       "Stream %s under account %s has %zu registered consumers, as many as its "
                       "limit of %u allows.",
                       c->stream.name, settings_account(c->settings), a->n_consumers, limit);
        return false;
    }
    if (creating >= COMMAND_CONSUMERS_CREATING_MAX) {
        command_refuse(c->result, STATUS_LIMIT,
                       "Stream %s under account %s has %zu consumers in state CREATING; wait until "
                       "they are ACTIVE.",
                       c->stream.name, settings_account(c->settings), creating);
        return false;
    }
    return true;
}

static Weir__Consumer *make_consumer(struct control *c, const Weir__StreamControl__Register *in)
{
    Weir__Consumer *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        (void)control_no_memory(c);
        return NULL;
    }
    weir__consumer__init(made);
    if (!text_set(&made->name, in->consumer)) {
        (void)control_no_memory(c);
    } else if (tags_set(&made->tags, &made->n_tags, in->tags, in->n_tags, c->result)) {
        if (made->n_tags <= TAGS_MAX) {
            return made;
        }
        command_refuse(c->result, STATUS_INVALID, "A consumer has at most %d tags.", TAGS_MAX);
    }
    weir__consumer__free_unpacked(made, NULL);
    return NULL;
}

bool control_register(struct control *c)
{
    const Weir__StreamControl__Register *in = c->in->register_consumer;
    Weir__StreamAttributes *a = c->attributes;
    bool there;
    if (!command_name_is_good(in->consumer, c->result)) {
        return false;
    }
    if (c->stream.state != DB_STREAM_ACTIVE && c->stream.state != DB_STREAM_UPDATING) {
        return control_refuse_state(c, c->stream.state);
    }
    size_t at = find(a, in->consumer, &there);
    if (there) {
        command_refuse(c->result, STATUS_IN_USE,
                       "Consumer %.80s of stream %.80s under account %s already exists.",
                       in->consumer, c->stream.name, settings_account(c->settings));
        return false;
    }
    Weir__Consumer *made = may_have_another(c) ? make_consumer(c, in) : NULL;
    if (made == NULL) {
        return false;
    }
    if (!list_insert(&a->consumers, &a->n_consumers, at, made)) {
        weir__consumer__free_unpacked(made, NULL);
        return control_no_memory(c);
    }
    /* The second is the end of its ARN: no two may have the same, also not one after the other. */
    uint64_t now_s = c->now_ms / 1000;
    made->created_s = now_s > a->last_consumer_s ? now_s : a->last_consumer_s + 1;
    a->last_consumer_s = made->created_s;
    made->state = WEIR__CONSUMER_STATE__CONSUMER_CREATING;
    made->change = ++a->change;
    c->consumer = made;
    return true;
}

bool control_deregister(struct control *c)
{
    Weir__Consumer *consumer = control_consumer(c, c->in->deregister_consumer->consumer);
    if (consumer == NULL) {
        return false;
    }
    if (consumer->state != WEIR__CONSUMER_STATE__CONSUMER_DELETING) {
        consumer->state = WEIR__CONSUMER_STATE__CONSUMER_DELETING;
        consumer->change = ++c->attributes->change;
    }
    c->consumer = consumer;
    return true;
}

/* ---- when the brokers have been told
 * ---------------------------------------------------------------- */

static bool settle_consumers(Weir__StreamAttributes *a, uint64_t change)
{
    bool changed = false;
    for (size_t i = a->n_consumers; i-- > 0;) {
        Weir__Consumer *consumer = a->consumers[i];
        if (consumer->change > change) {
            continue;
        }
        if (consumer->state == WEIR__CONSUMER_STATE__CONSUMER_CREATING) {
            consumer->state = WEIR__CONSUMER_STATE__CONSUMER_ACTIVE;
            changed = true;
        } else if (consumer->state == WEIR__CONSUMER_STATE__CONSUMER_DELETING) {
            list_delete(&a->consumers, &a->n_consumers, i);
            changed = true;
        }
    }
    return changed;
}

void command_stream_settled(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdStreamSettled *in = command->stream_settled;
    struct db_stream stream;
    if (!db_stream_get(db, in->stream, &stream)) {
        return; /* deleted meanwhile */
    }
    AUTO(attributes_free) Weir__StreamAttributes *a = db_attributes_get(db, in->stream);
    if (a == NULL) {
        result->status = STATUS_NO_MEMORY;
        return;
    }
    bool updated = a->updating != 0 && a->updating <= in->change;
    bool changed = settle_consumers(a, in->change);
    if (!updated && !changed) {
        return;
    }
    if (updated) {
        a->updating = 0;
        uint32_t target;
        if (stream.state == DB_STREAM_UPDATING && !db_reshard_get(db, stream.id, &target)) {
            stream.state = DB_STREAM_ACTIVE;
            db_stream_put(db, &stream);
        }
    }
    db_attributes_put(db, in->stream, a);
}
