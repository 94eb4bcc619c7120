/* What must happen often enough for the invariants to mean anything: the generator of worlds is
 * measured, too. X(name, floor, text): seen at least `floor` times in 10,000 seeds, or the run
 * fails
 * (`--floors`). A floor is a third of what was seen when it was set. */
#pragma once

#define SITUATIONS(X)                                                                              \
    X(EPOCH_NEVER_LED, 1200, "an epoch was granted and nobody ever led it")                        \
    X(EPOCH_NEVER_GRANTED, 6, "an epoch was fenced and never granted")                             \
    X(ELECTED_UNCERTAIN, 360, "a leader was elected whose own log was uncertain")                  \
    X(ELECTED_BESIDE_UNCERTAIN, 5700, "a leader was elected while another voter was uncertain")    \
    X(ELECTED_AGAIN, 18000, "the last leader was elected again")                                   \
    X(ELECTED_HEIR, 3000, "the heir that a leader named was elected")                              \
    X(ELECTED_UNDER_PREVIOUS, 190,                                                                 \
      "joint configuration reverted: the old voters had the best log")                             \
    X(ELECTED_JOINTLY, 7200, "elected while two configurations were possible")                     \
    X(STABLE, 6600, "a new configuration became the only possible one")                            \
    X(JOINT_FAILED_OVER, 700, "an election began while two configurations were possible")          \
    X(PROPOSAL_LOST, 1500, "a proposal of the active controller was lost")                         \
    X(PROPOSAL_OF_DEPOSED, 1100, "a proposal of a deposed controller was committed")               \
    X(PROPOSAL_OVERTAKEN, 8, "a proposal was committed when it no longer applied")                 \
    X(CONTROLLER_CHANGED, 9900, "another controller became active")                                \
    X(CONTROLLER_TWICE_ACTIVE, 1700, "two controllers believed to be active")                      \
    X(CONTROLLERS_CUT, 2600, "the controllers had no majority")                                    \
    X(ACKED_WITHOUT_CONTROLLERS, 67000, "a put was acknowledged while the controllers had none")   \
    X(PROPOSAL_BY_SUCCESSOR, 450, "a deposed controller's proposal was committed by the next one") \
    X(PROPOSAL_LOST_WITH_LEADER, 720, "a proposal was lost with the controller that led the log")  \
    X(CONTROLLERS_ALL_BACK, 280, "controllers all crashed at once and came back with their logs")  \
    X(CONTROLLER_CRASHED_ACTIVE, 680, "the active controller crashed")                             \
    X(CONTROLLER_CRASHED_VOTED, 70, "a controller crashed as it had voted")                        \
    X(CONTROLLER_CUT_ACTIVE, 240, "the active controller was cut off from the others")             \
    X(CONTROLLER_LOST_UNSYNCED, 290, "a crash of a controller lost entries that were not synced")  \
    X(CONTROLLER_REPLAYS, 1300, "a controller had to apply again what its database had lost")      \
    X(CONTROLLER_RESTORED, 150, "a controller took over a copy of the state machine")              \
    X(ELECTION_AWAITED_ACTIVE, 1800, "election of shards waited for a new active controller")      \
    X(GRANT_REPEATED, 12000, "a grant arrived again at the leader of its epoch")                   \
    X(GRANT_VOID, 900, "a grant arrived too late to be good")                                      \
    X(FENCE_REFUSED, 590, "a fence met a higher promise")                                          \
    X(FENCE_STALE, 4200, "a fence was for somebody else, or too late")                             \
    X(FENCE_OF_LEADER, 14000, "a leader in office was fenced")                                     \
    X(REPORT_UNCERTAIN, 5700, "an uncertain replica reported")                                     \
    X(REPORT_EMPTY, 24000, "a replica without a record reported")                                  \
    X(RESIGNED_STALLED, 320, "a leader that could not commit resigned")                            \
    X(STEPPED_DOWN, 15000, "a leader stepped down")                                                \
    X(STEPPED_DOWN_WITH_PUTS, 4400, "a leader stepped down while puts waited")                     \
    X(HANDED_OVER, 3700, "a leader handed over")                                                   \
    X(HANDOVER_REFUSED, 3100, "a leader would not hand over")                                      \
    X(LEADER_DIED_UNOPENED, 6600, "a leader died before its EPOCH_START was committed")            \
    X(LEADER_DIED_OPEN, 11000, "a leader died in office")                                          \
    X(LEADER_DIED_WITH_PUTS, 5600, "a leader died while puts waited")                              \
    X(LEADER_JUDGED_DEAD, 7600, "a living leader was judged dead")                                 \
    X(LEADER_PAUSED, 1100, "a leader stood still")                                                 \
    X(LEADER_RESUMED_DEPOSED, 350, "a leader that stood still went on after its epoch had ended")  \
    X(REGISTRATION_REPEATED, 120000, "a registration was lost and repeated")                       \
    X(REGISTERED_LATE, 310, "a registration was answered to a boot that had ended")                \
    X(FLOOR_TAKEN, 6400, "a damaged replica got its floor")                                        \
    X(FLOOR_RAISED, 3300, "a floor was above what was left of the promises")                       \
    X(FLOOR_AWAITED, 3200, "an append met a replica that waits for its floor")                     \
    X(TRUNCATED, 2300, "a replica cut its log")                                                    \
    X(TRUNCATED_MANY, 1200, "a replica cut five batches or more")                                  \
    X(TRUNCATED_OWN, 2200, "a deposed leader cut what it had written")                             \
    X(TRUNCATED_EPOCHS, 410, "a replica cut batches of two epochs at once")                        \
    X(TRUNCATED_OPERATION, 1200, "an operation that is tried again was cut")                       \
    X(SEAL_TRUNCATED, 97, "a SEAL was cut: the shard was open again")                              \
    X(COMMITTED_WITHOUT_OWN, 34000, "commit without the leader's own copy on disk")                \
    X(COMMITTED_OLDER, 8600, "a commit took records of older epochs with it")                      \
    X(COMMITTED_JOINTLY, 13000, "a commit while two configurations were possible")                 \
    X(COMMITTED_DEPOSED, 3300, "a leader committed after a higher epoch had been decided")         \
    X(COMMITTED_LATE, 67000, "a follower learned of 20 and more committed records at once")        \
    X(APPEND_OF_EPOCHS, 20000, "an append carried batches of several epochs")                      \
    X(APPEND_OF_DEPOSED, 1300000, "an append of a leader that was no longer the newest arrived")   \
    X(APPEND_REFUSED_EPOCH, 690000, "an append met a higher promise")                              \
    X(APPEND_REFUSED_MATCH, 5200000, "an append did not match: the logs were searched")            \
    X(APPEND_REFUSED_DEEP, 1700000, "a search over three epochs and more")                         \
    X(ANSWER_OF_OLD_BOOT, 40000, "an answer arrived whose sender had restarted since")             \
    X(ANSWER_OF_UNCERTAIN, 1500000, "an uncertain follower acknowledged")                          \
    X(UNCERTAIN_CLEARED, 4300, "uncertainty was cleared")                                          \
    X(UNCERTAIN_CLEARED_SAME, 1200, "uncertain cleared in the same epoch in which it began")       \
    X(UNCERTAIN_CLEARED_LEADING, 260, "a leader's own uncertainty was cleared")                    \
    X(UNCERTAIN_CRASHED, 3100, "an uncertain replica crashed")                                     \
    X(INSTALLED, 650, "a copy that begins in the middle was installed")                            \
    X(INSTALLED_LEARNER, 500, "install while learner")                                             \
    X(INSTALLED_VOTER, 150, "a voter installed a copy")                                            \
    X(INSTALL_LOST, 11, "a crash lost an install")                                                 \
    X(LOG_START_MOVED, 630, "a leader dropped what retention allows")                              \
    X(LOG_START_FOLLOWED, 1000, "a follower dropped it too")                                       \
    X(CRASH_IN_SYNC, 7400, "a crash while a sync was under way")                                   \
    X(CRASH_KEPT_ALL, 3200, "a crash kept all that was not synced")                                \
    X(CRASH_KEPT_SOME, 960, "a crash kept some of what was not synced")                            \
    X(CRASH_LOST_ALL, 3300, "a crash lost all that was not synced")                                \
    X(CRASH_LOST_PROMISE, 1600, "a crash lost a promise that was not synced")                      \
    X(CRASH_LOST_TRUNCATION, 28, "a crash lost a truncation that was not synced")                  \
    X(CRASH_TORN, 240, "a crash left a tail that looks damaged")                                   \
    X(CRASH_OF_ALL, 290, "all brokers crashed at once")                                            \
    X(CRASH_PAUSED, 590, "a broker crashed while it stood still")                                  \
    X(CRASH_UNNOTICED, 15000, "a broker was back before its crash was noticed")                    \
    X(DAMAGED_BATCHES, 2800, "synced batches became unreadable")                                   \
    X(DAMAGED_PROMISES, 1400, "synced promises became unreadable")                                 \
    X(HOLE_MADE, 12000, "a synced batch below the end of a log became unreadable")                 \
    X(HOLE_FOUND_BY_READ, 71, "a reader found a hole")                                             \
    X(HOLE_FOUND_BY_FEED, 320, "a leader that feeds a follower found a hole")                      \
    X(HOLE_FOUND_BY_SEARCH, 150, "the comparison of two logs found a hole")                        \
    X(HOLE_FOUND_BY_SCRUB, 8900, "the scrubber found a hole")                                      \
    X(HOLE_IN_THE_WAY, 730, "two logs had to be compared where one cannot be read")                \
    X(HOLES_AT_START, 1400, "a broker started with holes that it knew of")                         \
    X(HOLES_FORGOTTEN, 68, "the list of known holes was lost")                                     \
    X(REPORT_HOLES, 1900, "a replica reported holes")                                              \
    X(ELECTED_WITH_HOLES, 500, "leader elected with holes")                                        \
    X(ELECTED_BESIDE_HOLES, 220, "a better log was set aside, because it had holes")               \
    X(HOLE_AWAITED, 830, "hole above every other end waited for the third")                        \
    X(HOLE_FILLED_BEFORE_ACTIVE, 130, "hole repaired before active")                               \
    X(HOLE_STALLED, 1, "a leader that could not fill its holes resigned")                          \
    X(HOLE_NOT_ACKED, 38, "a follower acknowledged less than it had verified, because of a hole")  \
    X(HOLE_FILLED, 3600, "a hole was filled, and its chain closed")                                \
    X(HOLE_FILLED_IN_PART, 400, "a hole was filled as far as another replica had it")              \
    X(HOLE_REFUSED, 1100, "what another replica had did not fit into a hole")                      \
    X(TRUNCATED_AT_HOLE, 280, "truncated at a hole nobody has")                                    \
    X(TRUNCATED_WITH_HOLE, 250, "a follower cut a hole away with what was not committed")          \
    X(DISK_LOST, 1800, "a disk was lost")                                                          \
    X(DISK_LOST_BY_LEADER, 790, "a leader's disk was lost")                                        \
    X(DISK_OLD_IMAGE, 830, "an old image of a disk was brought back, and refused")                 \
    X(DISK_FULL_LEADER, 71000, "a put met a full disk")                                            \
    X(DISK_FULL_FOLLOWER, 28000, "a follower with a full disk took no batches")                    \
    X(SYNC_SLOW, 7300, "a sync was slow")                                                          \
    X(SYNC_HUNG, 1500, "a sync took seconds")                                                      \
    X(SYNC_FAILED, 1600, "a sync failed: the disk was out")                                        \
    X(MEMORY_SHORT, 34000, "an input found no memory")                                             \
    X(MESSAGE_LOST, 780000, "a message was lost")                                                  \
    X(MESSAGE_DOUBLED, 1800000, "a message was doubled")                                           \
    X(MESSAGE_LATE, 690000, "a message was held back")                                             \
    X(MESSAGE_OVERTAKEN, 27000000, "a message overtook another one")                               \
    X(MESSAGE_OF_OLD_SESSION, 25000, "a message of an ended session was dropped")                  \
    X(LINK_ONE_WAY, 120000, "a link was open in one direction only")                               \
    X(LINKS_SPLIT, 4300, "the brokers were split in two")                                          \
    X(LINKS_SWIZZLED, 3900, "links closed one by one and opened in another order")                 \
    X(LEADER_WITH_CLIENTS, 4200, "a leader was cut off together with the clients")                 \
    X(MOVE_BEGUN, 5400, "a replica began to move")                                                 \
    X(MOVE_NEAR, 6700, "a learner was near enough to vote")                                        \
    X(MOVE_JOINED, 4600, "a learner joined")                                                       \
    X(MOVE_DONE, 4500, "a replica has moved")                                                      \
    X(MOVE_AGAIN, 100, "a move fell back to copying")                                              \
    X(MOVE_VOID, 6, "a move was void")                                                             \
    X(MOVE_GIVEN_UP, 890, "a move was given up")                                                   \
    X(MOVE_OF_LEADER, 810, "the leader's own replica moved")                                       \
    X(LEARNER_CRASHED, 1600, "a learner crashed")                                                  \
    X(REPLICA_DROPPED, 4400, "a replica that moved away was dropped")                              \
    X(REPLICA_BACK, 2100, "a broker got a replica of a shard that it had dropped")                 \
    X(PUT_ACKED, 1000000, "a put was acknowledged")                                                \
    X(PUT_UNCERTAIN, 200000, "nobody could say what became of a put")                              \
    X(PUT_TO_DEPOSED, 100000, "a leader that was no longer the newest took a put")                 \
    X(PUT_STALLED, 13000, "a leader without a majority refused a put")                             \
    X(PUT_BUSY, 70000, "a put had to wait")                                                        \
    X(RETRY_SENT, 230000, "an operation was tried again")                                          \
    X(RETRY_ANSWERED, 12000, "a retry was answered with its original")                             \
    X(RETRY_BEFORE_COMMIT, 8200, "a retry waited for its original's commit")                       \
    X(RETRY_ACROSS_FAILOVER, 5300, "retry answered across failover")                               \
    X(RETRY_OF_TOKEN, 5800, "a retry was known by its token")                                      \
    X(RETRY_STORED_ANEW, 1200, "a retry was stored anew, because its original was cut")            \
    X(RETRY_AT_SEALED, 270, "a sealed shard answered a retry")                                     \
    X(RETRY_IN_CHILD, 1800, "an operation went to a child when its parent was closed")             \
    X(PRODUCER_EPOCH, 1300, "a producer began a new epoch")                                        \
    X(PRODUCER_FENCED, 68, "a batch of a producer's older epoch was refused")                      \
    X(PRODUCER_OUT_OF_ORDER, 55000, "a batch came before the one before it")                       \
    X(PRODUCER_UNKNOWN, 18000, "a leader knew nothing of a producer")                              \
    X(PRODUCERS_FROM_SNAPSHOT, 2000, "the producers' table was built from a snapshot")             \
    X(READ_OF_FOLLOWER, 130000, "a follower was read")                                             \
    X(READ_OF_DEPOSED, 4100, "a leader that was no longer the newest was read")                    \
    X(READ_BEHIND, 46000, "a reader was ahead of the replica that it asked")                       \
    X(READ_TRIMMED, 28, "a reader came too late: what it wanted was dropped")                      \
    X(READ_TO_THE_END, 330, "a reader read a closed shard to its end")                             \
    X(SEAL_ASKED, 12000, "a leader was asked to close its shard")                                  \
    X(SEAL_COMMITTED, 7300, "a SEAL was committed")                                                \
    X(SEAL_BY_NEXT, 1600, "a SEAL was committed by a later leader than wrote it")                  \
    X(SEAL_REFUSED_PUT, 4500, "a closed shard refused a put")                                      \
    X(CHILD_WAITED, 28000, "a child refused a put: its parents were open")                         \
    X(SPLIT, 1200, "a shard was split")                                                            \
    X(MERGE, 630, "two shards were merged")                                                        \
    X(TIP_TOLD, 30000, "a leader made sure that it leads, and told what is newest")                \
    X(TIP_UNKNOWN, 10, "a leader could not make sure that it leads")                               \
    X(TIP_OF_DEPOSED, 700, "a leader that was no longer the newest was asked what is")             \
    X(OLD_FOLLOWS, 870000, "an old follower acknowledged what a new leader sent")                  \
    X(OLD_IS_FOLLOWED, 360000, "a new follower acknowledged what an old leader sent")              \
    X(BROKER_UPGRADED, 1100, "a broker came back with the newer version")                          \
    X(BROKER_ROLLED_BACK, 1000, "a broker came back with the version before")                      \
    X(CONTROLLER_OF_OTHER, 340, "a controller became active with another version")                 \
    X(HOLE_FILLED_FROM_OLD, 190, "a hole was filled from an old peer")                             \
    X(HOLE_OF_OLD_FILLED, 200, "an old broker's hole was filled from a new peer")                  \
    X(ABSENCE_UNSAID, 8600, "an old peer could not say whether it ever had what fills a hole")     \
    X(HOLES_UNSEEN, 120, "an old controller did not see that a log has holes")                     \
    X(OLD_LED_WITH_HOLES, 380,                                                                     \
      "an old leader began its epoch with a hole that it did not tell of")                         \
    X(UPGRADE_NEEDED, 47,                                                                          \
      "what an old peer could not say kept a shard without a leader: all were upgraded")           \
    X(CONFIRM_UNKNOWN, 2200,                                                                       \
      "a leader asked an old broker whether it follows, which knows no CONFIRM")                   \
    X(TIP_BY_STATUS, 870, "a tip was told because an old broker's status confirmed it")            \
    X(TIP_OF_OLD, 3900, "an old leader was asked what is newest, and told it unconfirmed")         \
    X(STAMP_CLAMPED, 30000, "a leader's clock was too far off for a record")                       \
    X(CLOCK_JUMPED, 4200, "a clock jumped")                                                        \
    X(RETENTION_UNCONFIRMED, 360, "retention stood still: nobody confirmed the clock")

enum situation {
#define X(name, floor, text) SITUATION_##name,
    SITUATIONS(X)
#undef X
        SITUATION_COUNT,
};

#define SEEN(w, name)               ((void)(w)->seen[SITUATION_##name]++)
#define SEEN_IF(w, name, condition) ((void)((w)->seen[SITUATION_##name] += (condition) ? 1 : 0))
