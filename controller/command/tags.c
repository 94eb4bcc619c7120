/* Tags and policies, of streams and of their consumers. */
#include "controller/command/stream_control.h"

static bool is_there(struct control *c)
{
    return c->stream.state != DB_STREAM_DELETING || control_refuse_state(c, c->stream.state);
}

bool control_tags(struct control *c)
{
    const Weir__StreamControl__Tags *in = c->in->tags;
    if (!is_there(c)) {
        return false;
    }
    Weir__Tag ***tags = &c->attributes->tags;
    size_t *count = &c->attributes->n_tags;
    if (in->consumer[0] != '\0') {
        Weir__Consumer *consumer = control_consumer(c, in->consumer);
        if (consumer == NULL) {
            return false;
        }
        tags = &consumer->tags;
        count = &consumer->n_tags;
    }
    tags_remove(tags, count, in->remove, in->n_remove);
    if (!tags_set(tags, count, in->set, in->n_set, c->result)) {
        return false;
    }
    if (*count > TAGS_MAX) {
        command_refuse(c->result, STATUS_INVALID,
                       "Failed to add tags to stream %s under account %s because a given stream "
                       "cannot have more than %d tags associated with it.",
                       c->stream.name, settings_account(c->settings), TAGS_MAX);
        return false;
    }
    return true;
}

bool control_policy(struct control *c)
{
    const Weir__StreamControl__Policy *in = c->in->policy;
    if (!is_there(c)) {
        return false;
    }
    char **policy = &c->attributes->policy;
    if (in->consumer[0] != '\0') {
        Weir__Consumer *consumer = control_consumer(c, in->consumer);
        if (consumer == NULL) {
            return false;
        }
        policy = &consumer->policy;
    }
    if (in->policy[0] == '\0' && (*policy)[0] == '\0') {
        command_refuse(
            c->result, STATUS_NOT_FOUND, "No resource policy found for %s %.80s under account %s.",
            in->consumer[0] != '\0' ? "consumer" : "stream",
            in->consumer[0] != '\0' ? in->consumer : c->stream.name, settings_account(c->settings));
        return false;
    }
    if (strlen(in->policy) > POLICY_BYTES_MAX) {
        command_refuse(c->result, STATUS_LIMIT, "A resource policy has at most %d bytes.",
                       POLICY_BYTES_MAX);
        return false;
    }
    return text_set(policy, in->policy) || control_no_memory(c);
}
