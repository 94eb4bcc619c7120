/* One real controller on a real loop, with brokers and clients that the test plays over loopback.
 */
#pragma once

#include "controller/rpc/rpc.h"
#include "proto/net/net.h"
#include "tests/unit/proto/net/certs.h"

enum { RIG_BROKERS = 4, RIG_BODY_MAX = 1 << 20 };

struct rig;

/* A broker that the test plays: registers, beats, answers fences and grants. */
struct rig_broker {
    struct rig *rig;
    uint32_t id;
    uint64_t boot;
    struct net_tls *tls;
    struct session *session; /* NULL: none open */
    struct net_timer beat;
    uint32_t disk_gen, reset; /* reports this broker as reset, unless 0 */
    unsigned fences, grants, fresh, drops;
    bool mute;        /* neither beats nor answers */
    bool keep_drops;  /* does not confirm deletions */
    bool mute_fences; /* beats, but answers no fence */
    enum status why;  /* of the last session's end */
};

/* What a call gave. */
struct rig_reply {
    enum status status;
    char text[ERROR_TEXT_BYTES], hint[NODE_NAME_BYTES];
    uint8_t body[RIG_BODY_MAX];
    size_t size;
    unsigned parts;
    bool done;
};

struct rig {
    char dir[64];
    struct certs certs;
    struct net_loop *loop;
    struct net_tls *tls, *user_tls;
    struct controller *controller;
    uint16_t port;
    uint32_t id;          /* the controller's */
    uint64_t beat_ms;     /* how often brokers beat */
    struct session *user; /* an admin's */
    bool user_open;
    struct rig_broker broker[RIG_BROKERS + 1]; /* by id */
    struct rig_reply reply;                    /* of the last call */
    struct session_request request;
};

void rig_open(struct rig *rig);
void rig_close(struct rig *rig);
void rig_restart(struct rig *rig); /* the controller, on the same directory */
/* Instead of rig_open(): a controller that runs in a process of its own. The caller has set certs,
 * loop, user_tls, id and port; rig_part() ends the sessions alone. */
void rig_meet(struct rig *rig);
void rig_part(struct rig *rig);

/* Runs the loop until *what is true, or fails the test after 10 s. */
void rig_until(struct rig *rig, bool (*what)(struct rig *rig));
void rig_run_ms(struct rig *rig, uint64_t ms);

/* Connects broker `id` with this boot id, and registers it in a zone of its own. */
void rig_broker_up(struct rig *rig, uint32_t id, uint64_t boot);
void rig_broker_connect(struct rig *rig, uint32_t id, uint64_t boot);
void rig_broker_close(struct rig *rig, uint32_t id);

/* A call of the admin's (or on `session`); the reply is in rig->reply. */
enum status rig_call(struct rig *rig, enum rpc_method method, const ProtobufCMessage *body);
enum status rig_call_on(struct rig *rig, struct session *session, enum rpc_method method,
                        const ProtobufCMessage *body);
