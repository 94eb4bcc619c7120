/* Private to controller/rpc: the parts of a controller, and who calls whom. */
#pragma once

#include "controller/balance/balance.h"
#include "controller/db/db.h"
#include "controller/election/election.h"
#include "controller/fitness/fitness.h"
#include "controller/lease/lease.h"
#include "controller/moves/plan.h"
#include "controller/rpc/agreement.h"
#include "controller/rpc/gate.h"
#include "controller/rpc/liveness.h"
#include "controller/rpc/pipeline.h"
#include "controller/rpc/rpc.h"
#include "controller/scaling/scaling.h"
#include "controller/watch/watch.h"
#include "proto/net/net.h"
#include "proto/net/process.h"
#include "proto/schema/balance.pb-c.h"
#include "proto/schema/control.pb-c.h"
#include "proto/schema/metadata.pb-c.h"

enum {
    ELECTION_PROPOSAL_SHARDS_MAX = 1000, /* in one command */
    ELECTION_FRAME_SHARDS_MAX = 4000,    /* in one FENCE or GRANT: 600 KiB */
    DROPS_FRAME_SHARDS_MAX = 2000,
    DROPS_RESEND_MS = 1000,
    REPLICAS_LOOK_MS = 500,
    WATCH_AHEAD_MS =
        2000, /* a watcher that knows more than we do waits so long for us to catch up */
    CHECKPOINT_PAGES = 1000,
    SEALS_RESEND_MS = 100,
    SEALS_AT_ONCE_MAX = 4000,
    EXPIRY_EVERY_MS = 60 * 1000,
    EXPIRY_CLOCK_MS = 2000, /* how much the brokers' clocks may differ from ours */
    EXPIRE_AT_ONCE_MAX = 1000,
    HASHES_TELL_MS = 5000, /* what our state was is told again after so long */
    SETTLE_MS = 20,
    SETTLE_WAIT_MS = 2000, /* for a broker that does not read */
    SIGNING_DATES_MAX = 4,
    MOVES_EVERY_MS = 200,
    MOVES_PATIENCE_MS = 2000, /* of a controller that has just become active */
    MOVES_TEXT_BYTES = 160,
    LEADERS_EVERY_MS = 20,
    LEADERS_ASK_MS = 300,
    LEADERS_AT_ONCE = 64,
    LEADERS_DEADLINE_MS = 20 * 1000,
    SCALING_LOOK_MS_MAX = 1000,
    SHARD_LOADS_MAX = 4000, /* of one message */
};

/* A session of anybody with us. Its broker fields are set once REGISTER_BROKER has succeeded. */
struct client {
    struct list node;
    struct controller *controller;
    struct session *session;
    uint32_t broker; /* 0: not registered */
    uint32_t disk_gen;
    uint64_t boot;
    uint64_t dropped_up_to; /* DROP_SHARDS was sent up to this shard */
    /* of its last beat, for status pages */
    uint64_t disk_bytes, disk_free_bytes;
    uint32_t unlisted, quarantined, reclaimed;
    struct client_damage {
        uint32_t holes, scrub_permille;
        uint64_t found, repaired, differ, scrub_passes, scrub_finished_ms;
        bool scrub_late;
    } damage;
    uint32_t replicas, leaders;
    char disk_state[16];
    int64_t clock_offset_ms;
    uint32_t sync_us, stall_us;
    uint64_t wall_ms, wall_at_ms; /* its clock, and our monotonic one when it said so */
};

/* BACKUP waits for a read barrier. */
struct backup_call {
    struct raft_node_request request;
    struct controller *controller;
    struct session_call *call;
};
struct backup_copy; /* backup.c */

struct made_replica {
    uint64_t shard;
    uint32_t broker, disk_gen;
};

struct controller {
    struct controller_options options;
    char *state_path;
    struct raft_node_server server[RAFT_NODE_SERVERS_MAX]; /* ours, for options.servers */
    uint8_t cluster[CLUSTER_ID_BYTES];
    struct db *db;
    struct watch *watch;
    struct raft_node *raft;
    struct net_listener *listener;
    bool active, closing;
    uint32_t leader; /* 0: unknown */

    struct pipeline pipeline;
    struct liveness liveness;
    uint32_t held_told;
    struct fitness fitness;
    struct net_timer fitness_timer;
    struct election *election;
    struct election_effects effects;
    struct net_timer liveness_timer, election_timer, drops_timer, ahead_timer, replicas_timer,
        settle_timer;

    struct net_timer seals_timer, expiry_timer, moves_timer, leaders_timer;
    uint64_t moves_from_ms; /* when the first plan is made */
    uint32_t moves_missing; /* replicas that should move and do not yet */
    char moves_wait_for[MOVES_TEXT_BYTES];
    struct list leader_calls; /* leaders.c */

    struct leases *leases;
    struct lease_effects lease_effects;
    struct net_timer lease_timer;
    struct list lease_joins;               /* struct join_call, under way */
    uint64_t lease_waits_ms;               /* no tick since then, for the sake of joins; 0: none */
    uint32_t lease_commands, lease_begins; /* proposed and not answered: changes; new streams */

    struct scaling *scaling;
    struct net_timer scaling_timer;

    struct balancer *balancer; /* balance.c */

    struct client nobody; /* of sessions that are not open yet */
    struct list clients, watchers;
    struct net_turn turn;       /* flushes what the turn has gathered */
    uint64_t settle_until_ms;   /* 0: nothing waits */
    struct buf made;            /* of struct made_replica: reported in this turn, to be committed */
    bool image_changed;         /* watchers have something to hear */
    struct backup_copy *backup; /* NULL: none was asked for */
    struct checkpoint *checkpoint; /* under way on another thread, or NULL */

    struct process process; /* its pages and what operators ask of it */
    char name[NODE_NAME_BYTES];
    struct controller_counts {
        uint64_t elections, leaders; /* epochs begun; leaders that have opened */
        uint64_t brokers_lost;
        uint64_t leases_assigned, lease_workers_gone; /* proposed */
        uint64_t activations;
    } counts;

    struct gate gate;   /* which commands every member knows */
    uint32_t gate_told; /* who holds commands of ours back: it has been said; 0: nobody does */

    struct agreement agreement; /* on what the state is */
    struct hash_job *hash_job;  /* ditto */
    struct net_timer hashes_timer;
    uint64_t differs_told; /* index at which others differ: it has been said */
};

/* At the end of this turn: proposals, fences, grants, updates. */
void controller_wake(struct controller *controller);
uint64_t controller_now(const struct controller *controller);

/* ---- replies
 * --------------------------------------------------------------------------------------- */

void reply_message(struct session_call *call, const ProtobufCMessage *message);
void reply_empty(struct session_call *call); /* it is done, and there is nothing to say */
void reply_malformed(struct session_call *call);
void reply_not_active(const struct controller *controller, struct session_call *call);
/* "controller-2", or "" when unknown. */
void leader_name(const struct controller *controller, char out[NODE_NAME_BYTES]);

/* ---- calls and messages: each by its method; a body that does not parse is answered, or ends the
 * session
 * ------------------------------------------------------------------------------------------- */

void handle_register(struct controller *c, struct client *client, struct session_call *call);
void handle_watch(struct controller *c, struct client *client, struct session_call *call);
void handle_get_metadata(struct controller *c, struct client *client, struct session_call *call);
void handle_create_stream(struct controller *c, struct client *client, struct session_call *call);
void handle_delete_stream(struct controller *c, struct client *client, struct session_call *call);
void handle_change_retention(struct controller *c, struct client *client,
                             struct session_call *call);
void handle_allocate_producers(struct controller *c, struct client *client,
                               struct session_call *call);
void handle_stream_control(struct controller *c, struct client *client, struct session_call *call);
void handle_key_control(struct controller *c, struct client *client, struct session_call *call);
void handle_signing_keys(struct controller *c, struct client *client, struct session_call *call);
void handle_ring_control(struct controller *c, struct client *client, struct session_call *call);
void handle_data_keys(struct controller *c, struct client *client, struct session_call *call);
void handle_reshard(struct controller *c, struct client *client, struct session_call *call);
void handle_cluster_status(struct controller *c, struct client *client, struct session_call *call);
void handle_controller_control(struct controller *c, struct client *client,
                               struct session_call *call);
void handle_backup(struct controller *c, struct client *client, struct session_call *call);
bool backup_under_way(const struct controller *c);
void checkpoint_start(struct controller *c);
void backup_release(struct controller *c);
/* The set of controllers is another one: watchers are told. */
void members_changed(void *data);
/* One that controller `id` has opened to us; NULL. */
struct session *members_session(void *data, uint32_t id);
/* Tells a controller that it is none any more. */
void members_refuse(struct controller *c, struct session *session);

void handle_cluster_time(struct controller *c, struct client *client, struct session_call *call);
/* Who should lead nothing: what a beat says of that. */
void fitness_note_beat(struct controller *c, const struct client *client,
                       const Weir__BrokerBeat *beat);
void fitness_activate(struct controller *c);
void fitness_deactivate(struct controller *c);
/* Whether it makes sense to have this broker lead: it is here, and well. */
bool brokers_may_lead(const struct controller *c, uint32_t broker);
/* INVALID: malformed. */
enum status handle_beat(struct controller *c, struct client *client, struct bytes body);
/* Watches for voters whose replicas have never been made: a broker that was away during the shard's
 * first elections. They are fenced into existence in the epoch that is led. */
void replicas_look_again(struct controller *c);
void replicas_deactivate(struct controller *c);
void replicas_flush(struct controller *c);
bool replica_is_made(const struct db_shard *shard, uint32_t broker, uint32_t disk_gen);
/* A voter has reported to the fence of a shard that has its leader. */
void replicas_reported(struct controller *c, uint64_t shard, struct db_replica replica);

enum status handle_fence_report(struct controller *c, struct client *client, struct bytes body);
enum status handle_leading(struct controller *c, struct client *client, struct bytes body);
enum status handle_resign(struct controller *c, struct client *client, struct bytes body);
/* A shard's row has changed: asks its leader for the end of it, if that is wanted. */
void reshards_row(struct controller *c, const struct db_shard *shard);
void reshards_activate(struct controller *c);
void reshards_deactivate(struct controller *c);
enum status handle_shards_sealed(struct controller *c, struct client *client, struct bytes body);
/* On-demand streams: what brokers say of their load, and what follows from it. */
enum status handle_shard_loads(struct controller *c, struct client *client, struct bytes body);
void scaling_activate(struct controller *c);
void scaling_deactivate(struct controller *c);
enum status handle_learned(struct controller *c, struct client *client, struct bytes body);
/* Automatic balancing of leaderships and replicas. False: out of memory. */
bool balance_open(struct controller *c);
void balance_close(struct controller *c);
void balance_activate(struct controller *c);
void balance_deactivate(struct controller *c);
/* Its first leader of a new epoch leads. */
void balance_opened(struct controller *c, uint64_t shard);
/* An administrator has moved it: it stays there for a while. */
void balance_touched(struct controller *c, uint64_t shard);
void balance_metrics(const struct controller *c, struct metrics *m);
void handle_broker_load(struct controller *c, struct client *client, struct session_call *call);
void handle_balance_control(struct controller *c, struct client *client, struct session_call *call);
void handle_balance_status(struct controller *c, struct client *client, struct session_call *call);
/* After the restore of a backup. */
void handle_held_shards(struct controller *c, struct client *client, struct session_call *call);
void handle_force_recover(struct controller *c, struct client *client, struct session_call *call);
void handle_broker_control(struct controller *c, struct client *client, struct session_call *call);
void handle_leader_control(struct controller *c, struct client *client, struct session_call *call);
void handle_moves_status(struct controller *c, struct client *client, struct session_call *call);
void moves_activate(struct controller *c);
/* Begins these moves of replicas; the rows judge once more. */
void moves_propose(struct controller *c, const struct plan_output *plan);
void moves_deactivate(struct controller *c);
/* Asks the shard's leader to let that voter lead; whether it was sent. */
bool moves_send_handover(const struct controller *c, const struct db_shard *row, uint32_t heir);
void leaders_deactivate(struct controller *c);
void leaders_opened(struct controller *c, uint64_t shard);
enum status handle_shards_dropped(struct controller *c, struct client *client, struct bytes body);

/* ---- commands
 * -------------------------------------------------------------------------------------- */

/* Submits a command whose reply the caller of `call` waits for: `answer` turns the body of an OK
 * result into the reply. Whatever goes wrong is answered here. */
void command_for_call(struct controller *c, struct session_call *call, Weir__Command *command,
                      uint32_t weight,
                      void (*answer)(struct controller *c, struct session_call *call,
                                     struct bytes body));
/* A command of our own, whose loss is made good by asking again later: so it is lost, too, while
 * a member does not know it. */
void command_of_ours(struct controller *c, Weir__Command *command, uint32_t weight);

/* Commands wait for members of older versions. */
void members_gate_init(struct controller *c);
/* Another controller has opened a session to us. */
void members_heard(struct controller *c, const struct session *session);
/* Why commands of this version have to wait; false: they need not. Told in the log, once. */
bool members_hold_back(struct controller *c, uint32_t version, char out[GATE_TEXT_BYTES]);

/* ---- the active controller's work
 * ------------------------------------------------------------------ */

void brokers_activate(struct controller *c);
/* An administrator says that the brokers that are held are dead. */
void brokers_consent(struct controller *c);
void brokers_deactivate(struct controller *c);
void brokers_session_lost(struct controller *c, struct client *client);
/* The registered session of a broker; NULL. */
struct client *brokers_client(const struct controller *c, uint32_t broker);
/* Sends DROP_SHARDS for what the brokers here owe; again later until they have confirmed. */
void brokers_send_drops(struct controller *c);

void elections_activate(struct controller *c);
void elections_deactivate(struct controller *c);
void elections_row(struct controller *c, const struct db_shard *shard);
void elections_broker_up(struct controller *c, const struct client *client);
void elections_broker_down(struct controller *c, uint32_t broker);
void elections_feed(struct controller *c, const struct election_input *input);
/* Carries out the effects gathered so far. */
void elections_flush(struct controller *c);

/* A cluster key was given and nothing is sealed yet: makes what every cluster needs. */
void keys_activate(struct controller *c);

/* The key ring. Makes the default key when there is none, and does what is due. */
void ring_activate(struct controller *c);
/* Destroys keys whose time has come; gives streams new data keys after a rotation. */
void ring_look(struct controller *c);
/* False: answered, this is no active controller with a cluster key. */
bool ring_is_there(const struct controller *c, struct session_call *call);
/* Makes the data key of a change that begins encryption, where its key may be used; whether it may,
 * the command judges. */
NODISCARD enum status ring_data_key(struct controller *c, uint32_t stream,
                                    Weir__StreamControl__Encryption *encryption);
/* `out` has SECRET_PLAIN_MAX bytes. KEY_NOT_FOUND, KEY_DENIED. */
NODISCARD enum status ring_unwrap(struct controller *c, const Weir__RingKey *key, uint32_t stream,
                                  const Weir__DataKey *from, uint8_t *out, size_t *out_size);

/* Changes of streams that the brokers have not all been told of: they end when they have. */
void settle_activate(struct controller *c);
void settle_changed(struct controller *c, uint32_t stream);

/* CORRUPT: this directory was found to differ. */
NODISCARD enum status hashes_open(struct controller *c, struct error *error);
/* An entry has been applied; `before` is the index that was applied before it. */
void hashes_applied(struct controller *c, uint64_t before);
enum status handle_state_hash(struct controller *c, struct client *client, struct bytes body);

/* Consumer leases. */
void leases_activate(struct controller *c);
void leases_deactivate(struct controller *c);
/* What an entry has changed, when the image has it. */
void leases_changed(struct controller *c, const struct db_changes *changes);
/* Carries out the effects gathered so far. */
void leases_flush(struct controller *c);
void handle_lease_sync(struct controller *c, struct client *client, struct session_call *call);
void handle_lease_checkpoint(struct controller *c, struct client *client,
                             struct session_call *call);
void handle_app_control(struct controller *c, struct client *client, struct session_call *call);

/* metrics.c: opens the process's pages. Errors as process_open(). */
NODISCARD enum status observe_open(struct controller *c, struct error *error);

/* ---- watchers
 * -------------------------------------------------------------------------------------- */

void watchers_flush(struct controller *c);
/* Whether every broker that watches here has been sent all that is committed. */
bool watchers_are_told(const struct controller *c);
void watchers_close(struct controller *c);
