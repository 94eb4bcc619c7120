/* weirctl: inspect and operate a cluster. */
#include "client/cli/program.h"

static const char help[] =
    "weirctl: inspect and operate a Weir cluster.\n"
    "\n"
    "Usage:\n"
    "  weirctl cluster status\n"
    "  weirctl controller list\n"
    "  weirctl broker list\n"
    "  weirctl stream list\n"
    "  weirctl stream describe STREAM\n"
    "  weirctl stream create STREAM [--shards N] [--retention HOURS]\n"
    "                               [--allow-fewer-zones] [--no-wait]\n"
    "  weirctl stream delete STREAM [--no-wait]\n"
    "  weirctl stream retention STREAM HOURS\n"
    "  weirctl stream reshard STREAM SHARDS [--no-wait]\n"
    "  weirctl stream limits STREAM [--write-bytes N] [--write-records N]\n"
    "                               [--read-bytes N] [--read-calls N]\n"
    "                               [--iterator-calls N] [--subscription-bytes N]\n"
    "  weirctl shard list STREAM\n"
    "  weirctl shard metrics STREAM\n"
    "  weirctl shard split STREAM SHARD [--at HASH_KEY] [--no-wait]\n"
    "  weirctl shard merge STREAM SHARD NEIGHBOUR [--no-wait]\n"
    "  weirctl key create --name NAME\n"
    "  weirctl key list\n"
    "  weirctl key disable|enable|delete ACCESS_KEY_ID\n"
    "\n"
    "Lists are tables for people; with --json they are one JSON object.\n"
    "\n"
    "cluster status: controllers with their terms and indices (the active one reports\n"
    "its own in full, and how far the others have its log), brokers with zone, state\n"
    "and disk, and how many shards have no leader.\n"
    "\n"
    "shard list: for each shard its leader, epoch and replicas. \"in_sync\" means that a\n"
    "replica holds everything that is committed; \"lag\" counts the records that it is\n"
    "behind the leader's newest. The leaders are asked for this; the replicas of one\n"
    "that does not answer are unknown.\n"
    "\n"
    "stream reshard: gives the stream SHARDS open shards with equal ranges of hash keys.\n"
    "shard split: two shards instead of one; --at is the first hash key of the second,\n"
    "else its range is halved. shard merge: one shard instead of two neighbours. The old\n"
    "shards are closed (SEALED) and stay readable until their records expire. For each\n"
    "partition key the records of a closed shard come before those of its children.\n"
    "\n"
    "shard metrics: what the leaders have counted of shards since they began; of streams\n"
    "that have shard metrics enabled (EnableEnhancedMonitoring).\n"
    "\n"
    "stream limits: what clients of the Kinesis API may put into and read from each shard\n"
    "in a second; without options the present ones are told. N is a number (of bytes\n"
    "also 64KiB, 2MiB), none, or cluster: what the brokers' configuration says.\n"
    "\n"
    "key: what clients of the Kinesis API sign with. The secret is told once, by key\n"
    "create. Brokers refuse a disabled or deleted key within two seconds.\n"
    "\n"
    "stream create: the name may have letters, digits, '_', '.' and '-', 128 at most.\n"
    "  --shards N           default 1\n"
    "  --retention HOURS    default 24; 1 to 8760\n"
    "  --allow-fewer-zones  place replicas of a shard into the same zone when there are\n"
    "                       fewer than three (never onto the same broker)\n"
    "  --no-wait            do not wait until the stream is ACTIVE (delete: gone)\n"
    "\n" PROGRAM_COMMON_HELP "\n"
    "Examples:\n"
    "  weirctl stream create orders --shards 4\n"
    "  weirctl shard list orders --json\n";

static const struct command commands[] = {
    {"cluster",    "status",    0, "cluster status [--json]",                              run_cluster_status  },
    {"controller", "list",      0, "controller list [--json]",                             run_controller_list },
    {"broker",     "list",      0, "broker list [--json]",                                 run_broker_list     },
    {"stream",     "list",      0, "stream list [--json]",                                 run_stream_list     },
    {"stream",     "describe",  1, "stream describe STREAM [--json]",                      run_stream_describe },
    {"stream",     "create",    1, "stream create STREAM [--shards N] [...]",              run_stream_create   },
    {"stream",     "delete",    1, "stream delete STREAM [--no-wait]",                     run_stream_delete   },
    {"stream",     "retention", 2, "stream retention STREAM HOURS",                        run_stream_retention},
    {"stream",     "reshard",   2, "stream reshard STREAM SHARDS [--no-wait]",             run_stream_reshard  },
    {"stream",     "limits",    1, "stream limits STREAM [--write-bytes N] [...]",         run_stream_limits   },
    {"shard",      "metrics",   1, "shard metrics STREAM [--json]",                        run_shard_metrics   },
    {"shard",      "list",      1, "shard list STREAM [--json]",                           run_shard_list      },
    {"shard",      "split",     2, "shard split STREAM SHARD [--at HASH_KEY] [--no-wait]", run_shard_split     },
    {"shard",      "merge",     3, "shard merge STREAM SHARD NEIGHBOUR [--no-wait]",       run_shard_merge     },
    {"key",        "create",    0, "key create --name NAME [--json]",                      run_key_create      },
    {"key",        "list",      0, "key list [--json]",                                    run_key_list        },
    {"key",        "enable",    1, "key enable ACCESS_KEY_ID",                             run_key_enable      },
    {"key",        "disable",   1, "key disable ACCESS_KEY_ID",                            run_key_disable     },
    {"key",        "delete",    1, "key delete ACCESS_KEY_ID",                             run_key_delete      },
};

int main(int argc, char **argv)
{
    return program_main("weirctl", help, commands, sizeof(commands) / sizeof(commands[0]), argc,
                        argv);
}
