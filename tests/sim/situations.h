/* What must happen often enough for the invariants to mean anything: the generator of worlds is
 * measured, too. X(name, floor, text): seen at least `floor` times in 10,000 seeds, or the run
 * fails
 * (`--floors`). A floor is a third of what was seen when it was set. */
#pragma once

#define SITUATIONS(X)                                                                             \
    X(EPOCH_NEVER_LED, 1, "an epoch was granted and nobody ever led it")                          \
    X(EPOCH_NEVER_GRANTED, 1, "an epoch was fenced and never granted")                            \
    X(ELECTED_UNCERTAIN, 1, "a leader was elected whose own log was uncertain")                   \
    X(ELECTED_BESIDE_UNCERTAIN, 1, "a leader was elected while another voter was uncertain")      \
    X(ELECTED_AGAIN, 1, "the last leader was elected again")                                      \
    X(ELECTED_HEIR, 1, "the heir that a leader named was elected")                                \
    X(ELECTED_UNDER_PREVIOUS, 1, "joint configuration reverted: the old voters had the best log") \
    X(ELECTED_JOINTLY, 1, "elected while two configurations were possible")                       \
    X(STABLE, 1, "a new configuration became the only possible one")                              \
    X(JOINT_FAILED_OVER, 1, "an election began while two configurations were possible")           \
    X(PROPOSAL_LOST, 1, "a proposal of the active controller was lost")                           \
    X(PROPOSAL_OF_DEPOSED, 1, "a proposal of a deposed controller was committed")                 \
    X(PROPOSAL_OVERTAKEN, 1, "a proposal was committed when it no longer applied")                \
    X(CONTROLLER_CHANGED, 1, "another controller became active")                                  \
    X(CONTROLLER_TWICE_ACTIVE, 1, "two controllers believed to be active")                        \
    X(CONTROLLERS_CUT, 1, "the controllers had no majority")                                      \
    X(ACKED_WITHOUT_CONTROLLERS, 1, "a put was acknowledged while the controllers had none")      \
    X(GRANT_REPEATED, 1, "a grant arrived again at the leader of its epoch")                      \
    X(GRANT_VOID, 1, "a grant arrived too late to be good")                                       \
    X(FENCE_REFUSED, 1, "a fence met a higher promise")                                           \
    X(FENCE_STALE, 1, "a fence was for somebody else, or too late")                               \
    X(FENCE_OF_LEADER, 1, "a leader in office was fenced")                                        \
    X(REPORT_UNCERTAIN, 1, "an uncertain replica reported")                                       \
    X(REPORT_EMPTY, 1, "a replica without a record reported")                                     \
    X(RESIGNED_STALLED, 1, "a leader that could not commit resigned")                             \
    X(STEPPED_DOWN, 1, "a leader stepped down")                                                   \
    X(STEPPED_DOWN_WITH_PUTS, 1, "a leader stepped down while puts waited")                       \
    X(HANDED_OVER, 1, "a leader handed over")                                                     \
    X(HANDOVER_REFUSED, 1, "a leader would not hand over")                                        \
    X(LEADER_DIED_UNOPENED, 1, "a leader died before its EPOCH_START was committed")              \
    X(LEADER_DIED_OPEN, 1, "a leader died in office")                                             \
    X(LEADER_DIED_WITH_PUTS, 1, "a leader died while puts waited")                                \
    X(LEADER_JUDGED_DEAD, 1, "a living leader was judged dead")                                   \
    X(LEADER_PAUSED, 1, "a leader stood still")                                                   \
    X(LEADER_RESUMED_DEPOSED, 1, "a leader that stood still went on after its epoch had ended")   \
    X(REGISTRATION_REPEATED, 1, "a registration was lost and repeated")                           \
    X(REGISTERED_LATE, 1, "a registration was answered to a boot that had ended")                 \
    X(FLOOR_TAKEN, 1, "a damaged replica got its floor")                                          \
    X(FLOOR_RAISED, 1, "a floor was above what was left of the promises")                         \
    X(FLOOR_AWAITED, 1, "an append met a replica that waits for its floor")                       \
    X(TRUNCATED, 1, "a replica cut its log")                                                      \
    X(TRUNCATED_MANY, 1, "a replica cut five batches or more")                                    \
    X(TRUNCATED_OWN, 1, "a deposed leader cut what it had written")                               \
    X(TRUNCATED_EPOCHS, 1, "a replica cut batches of two epochs at once")                         \
    X(TRUNCATED_OPERATION, 1, "an operation that is tried again was cut")                         \
    X(SEAL_TRUNCATED, 1, "a SEAL was cut: the shard was open again")                              \
    X(COMMITTED_WITHOUT_OWN, 1, "commit without the leader's own copy on disk")                   \
    X(COMMITTED_OLDER, 1, "a commit took records of older epochs with it")                        \
    X(COMMITTED_JOINTLY, 1, "a commit while two configurations were possible")                    \
    X(COMMITTED_DEPOSED, 1, "a leader committed after a higher epoch had been decided")           \
    X(COMMITTED_LATE, 1, "a follower learned of 20 and more committed records at once")           \
    X(APPEND_OF_EPOCHS, 1, "an append carried batches of several epochs")                         \
    X(APPEND_OF_DEPOSED, 1, "an append of a leader that was no longer the newest arrived")        \
    X(APPEND_REFUSED_EPOCH, 1, "an append met a higher promise")                                  \
    X(APPEND_REFUSED_MATCH, 1, "an append did not match: the logs were searched")                 \
    X(APPEND_REFUSED_DEEP, 1, "a search over three epochs and more")                              \
    X(ANSWER_OF_OLD_BOOT, 1, "an answer arrived whose sender had restarted since")                \
    X(ANSWER_OF_UNCERTAIN, 1, "an uncertain follower acknowledged")                               \
    X(UNCERTAIN_CLEARED, 1, "uncertainty was cleared")                                            \
    X(UNCERTAIN_CLEARED_SAME, 1, "uncertain cleared in the same epoch in which it began")         \
    X(UNCERTAIN_CLEARED_LEADING, 1, "a leader's own uncertainty was cleared")                     \
    X(UNCERTAIN_CRASHED, 1, "an uncertain replica crashed")                                       \
    X(INSTALLED, 1, "a copy that begins in the middle was installed")                             \
    X(INSTALLED_LEARNER, 1, "install while learner")                                              \
    X(INSTALLED_VOTER, 1, "a voter installed a copy")                                             \
    X(INSTALL_LOST, 1, "a crash lost an install")                                                 \
    X(LOG_START_MOVED, 1, "a leader dropped what retention allows")                               \
    X(LOG_START_FOLLOWED, 1, "a follower dropped it too")                                         \
    X(CRASH_IN_SYNC, 1, "a crash while a sync was under way")                                     \
    X(CRASH_KEPT_ALL, 1, "a crash kept all that was not synced")                                  \
    X(CRASH_KEPT_SOME, 1, "a crash kept some of what was not synced")                             \
    X(CRASH_LOST_ALL, 1, "a crash lost all that was not synced")                                  \
    X(CRASH_LOST_PROMISE, 1, "a crash lost a promise that was not synced")                        \
    X(CRASH_LOST_TRUNCATION, 1, "a crash lost a truncation that was not synced")                  \
    X(CRASH_TORN, 1, "a crash left a tail that looks damaged")                                    \
    X(CRASH_OF_ALL, 1, "all brokers crashed at once")                                             \
    X(CRASH_PAUSED, 1, "a broker crashed while it stood still")                                   \
    X(CRASH_UNNOTICED, 1, "a broker was back before its crash was noticed")                       \
    X(DAMAGED_BATCHES, 1, "synced batches became unreadable")                                     \
    X(DAMAGED_PROMISES, 1, "synced promises became unreadable")                                   \
    X(DISK_LOST, 1, "a disk was lost")                                                            \
    X(DISK_LOST_BY_LEADER, 1, "a leader's disk was lost")                                         \
    X(DISK_OLD_IMAGE, 1, "an old image of a disk was brought back, and refused")                  \
    X(DISK_FULL_LEADER, 1, "a put met a full disk")                                               \
    X(DISK_FULL_FOLLOWER, 1, "a follower with a full disk took no batches")                       \
    X(SYNC_SLOW, 1, "a sync was slow")                                                            \
    X(SYNC_HUNG, 1, "a sync took seconds")                                                        \
    X(SYNC_FAILED, 1, "a sync failed: the disk was out")                                          \
    X(MEMORY_SHORT, 1, "an input found no memory")                                                \
    X(MESSAGE_LOST, 1, "a message was lost")                                                      \
    X(MESSAGE_DOUBLED, 1, "a message was doubled")                                                \
    X(MESSAGE_LATE, 1, "a message was held back")                                                 \
    X(MESSAGE_OVERTAKEN, 1, "a message overtook another one")                                     \
    X(MESSAGE_OF_OLD_SESSION, 1, "a message of an ended session was dropped")                     \
    X(LINK_ONE_WAY, 1, "a link was open in one direction only")                                   \
    X(LINKS_SPLIT, 1, "the brokers were split in two")                                            \
    X(LINKS_SWIZZLED, 1, "links closed one by one and opened in another order")                   \
    X(LEADER_WITH_CLIENTS, 1, "a leader was cut off together with the clients")                   \
    X(MOVE_BEGUN, 1, "a replica began to move")                                                   \
    X(MOVE_NEAR, 1, "a learner was near enough to vote")                                          \
    X(MOVE_JOINED, 1, "a learner joined")                                                         \
    X(MOVE_DONE, 1, "a replica has moved")                                                        \
    X(MOVE_AGAIN, 1, "a move fell back to copying")                                               \
    X(MOVE_VOID, 1, "a move was void")                                                            \
    X(MOVE_GIVEN_UP, 1, "a move was given up")                                                    \
    X(MOVE_OF_LEADER, 1, "the leader's own replica moved")                                        \
    X(LEARNER_CRASHED, 1, "a learner crashed")                                                    \
    X(REPLICA_DROPPED, 1, "a replica that moved away was dropped")                                \
    X(REPLICA_BACK, 1, "a broker got a replica of a shard that it had dropped")                   \
    X(PUT_ACKED, 1, "a put was acknowledged")                                                     \
    X(PUT_UNCERTAIN, 1, "nobody could say what became of a put")                                  \
    X(PUT_TO_DEPOSED, 1, "a leader that was no longer the newest took a put")                     \
    X(PUT_STALLED, 1, "a leader without a majority refused a put")                                \
    X(PUT_BUSY, 1, "a put had to wait")                                                           \
    X(RETRY_SENT, 1, "an operation was tried again")                                              \
    X(RETRY_ANSWERED, 1, "a retry was answered with its original")                                \
    X(RETRY_BEFORE_COMMIT, 1, "a retry waited for its original's commit")                         \
    X(RETRY_ACROSS_FAILOVER, 1, "retry answered across failover")                                 \
    X(RETRY_OF_TOKEN, 1, "a retry was known by its token")                                        \
    X(RETRY_STORED_ANEW, 1, "a retry was stored anew, because its original was cut")              \
    X(RETRY_AT_SEALED, 1, "a sealed shard answered a retry")                                      \
    X(RETRY_IN_CHILD, 1, "an operation went to a child when its parent was closed")               \
    X(PRODUCER_EPOCH, 1, "a producer began a new epoch")                                          \
    X(PRODUCER_FENCED, 1, "a batch of a producer's older epoch was refused")                      \
    X(PRODUCER_OUT_OF_ORDER, 1, "a batch came before the one before it")                          \
    X(PRODUCER_UNKNOWN, 1, "a leader knew nothing of a producer")                                 \
    X(PRODUCERS_FROM_SNAPSHOT, 1, "the producers' table was built from a snapshot")               \
    X(READ_OF_FOLLOWER, 1, "a follower was read")                                                 \
    X(READ_OF_DEPOSED, 1, "a leader that was no longer the newest was read")                      \
    X(READ_BEHIND, 1, "a reader was ahead of the replica that it asked")                          \
    X(READ_TRIMMED, 1, "a reader came too late: what it wanted was dropped")                      \
    X(READ_TO_THE_END, 1, "a reader read a closed shard to its end")                              \
    X(SEAL_ASKED, 1, "a leader was asked to close its shard")                                     \
    X(SEAL_COMMITTED, 1, "a SEAL was committed")                                                  \
    X(SEAL_BY_NEXT, 1, "a SEAL was committed by a later leader than wrote it")                    \
    X(SEAL_REFUSED_PUT, 1, "a closed shard refused a put")                                        \
    X(CHILD_WAITED, 1, "a child refused a put: its parents were open")                            \
    X(SPLIT, 1, "a shard was split")                                                              \
    X(MERGE, 1, "two shards were merged")                                                         \
    X(CLOCK_JUMPED, 1, "a clock jumped")                                                          \
    X(RETENTION_UNCONFIRMED, 1, "retention stood still: nobody confirmed the clock")

enum situation {
#define X(name, floor, text) SITUATION_##name,
    SITUATIONS(X)
#undef X
        SITUATION_COUNT,
};

#define SEEN(w, name)               ((void)(w)->seen[SITUATION_##name]++)
#define SEEN_IF(w, name, condition) ((void)((w)->seen[SITUATION_##name] += (condition) ? 1 : 0))
