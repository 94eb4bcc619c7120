/* weirctl: inspect and operate a cluster. */
#include "client/cli/program.h"

/* In parts: compilers need not take a longer string. */
static const char usage[] =
    "weirctl: inspect and operate a Weir cluster.\n"
    "\n"
    "Usage:\n"
    "  weirctl cluster status\n"
    "  weirctl top [--interval TIME] [--once]\n"
    "  weirctl metrics NODE|all\n"
    "  weirctl log-level NODE|all error|warning|info|debug\n"
    "  weirctl debug bundle [--out FILE.tar.gz]\n"
    "  weirctl controller list\n"
    "  weirctl controller add ID=HOST:PORT\n"
    "  weirctl controller replace OLD NEW=HOST:PORT\n"
    "  weirctl controller remove CONTROLLER [--force]\n"
    "  weirctl controller backup --out FILE\n"
    "  weirctl upgrade check\n"
    "  weirctl broker list\n"
    "  weirctl broker drain BROKER [--no-wait]\n"
    "  weirctl broker undrain BROKER\n"
    "  weirctl broker replace BROKER [--no-wait]\n"
    "  weirctl broker remove BROKER\n"
    "  weirctl broker label BROKER zone=ZONE\n"
    "  weirctl rebalance [--no-wait]\n"
    "  weirctl moves list\n"
    "  weirctl moves stop\n"
    "  weirctl cluster consent-failover\n"
    "  weirctl leader move STREAM SHARD BROKER\n"
    "  weirctl leader balance\n"
    "  weirctl balance status\n"
    "  weirctl balance on|off leaders|replicas|all\n"
    "  weirctl balance set SETTING VALUE|default\n"
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
    "  weirctl stream encrypt|decrypt STREAM [--key KEY] [--no-wait]\n"
    "  weirctl stream mode STREAM provisioned|on-demand\n"
    "  weirctl stream record-size STREAM KIB\n"
    "  weirctl stream monitor|unmonitor STREAM METRIC,METRIC...|ALL\n"
    "  weirctl stream tag STREAM KEY=VALUE\n"
    "  weirctl stream untag STREAM KEY\n"
    "  weirctl consumer register|deregister STREAM NAME\n"
    "  weirctl app list\n"
    "  weirctl app describe APP\n"
    "  weirctl app reset APP --from trim-horizon|latest|at-timestamp TIME\n"
    "                    [--stream STREAM] [--shard SHARD]\n"
    "  weirctl app delete APP [--force]\n"
    "  weirctl shard list STREAM\n"
    "  weirctl shard metrics STREAM\n"
    "  weirctl shard split STREAM SHARD [--at HASH_KEY] [--no-wait]\n"
    "  weirctl shard merge STREAM SHARD NEIGHBOUR [--no-wait]\n"
    "  weirctl shard force-recover STREAM SHARD --survivor BROKER --accept-loss\n"
    "                             [--insist]\n"
    "  weirctl key create --name NAME\n"
    "  weirctl key list\n"
    "  weirctl key disable|enable|delete ACCESS_KEY_ID\n"
    "  weirctl keyring create [--alias NAME] [--description TEXT]\n"
    "  weirctl keyring list\n"
    "  weirctl keyring describe|enable|disable|rotate|cancel-deletion KEY\n"
    "  weirctl keyring delete KEY [--days 7..30]\n"
    "  weirctl keyring alias KEY NAME\n"
    "  weirctl keyring unalias NAME\n"
    "\n";

static const char watching[] =
    "top: a live view of brokers and streams: what is written and read a second, how long\n"
    "a commit takes, how far the last replica is behind. q ends it; --interval is 2s\n"
    "unless given; --once measures for one interval and prints one view.\n"
    "metrics: what a process (broker-3, controller-1) would show on its /metrics page.\n"
    "log-level: how much it logs from now on, until it ends or gets SIGHUP.\n"
    "debug bundle: status, lists, metadata, metrics, configuration and the newest log lines\n"
    "of all processes that answer, in one file for whoever is to help. It has names of\n"
    "streams and hosts, and no secrets, keys or records.\n"
    "\n";

static const char controllers[] =
    "controller add: the process runs already, with join = true, an empty directory and a\n"
    "number that no controller ever had. It gets the log first and votes when it has it.\n"
    "controller replace: add the new one, then remove the old one. controller remove: its\n"
    "process ends, and its directory is of no use any more. What would leave fewer than\n"
    "three, or no majority that is there, is refused. All of it may be given again.\n"
    "controller backup: a consistent copy of the controllers' state in one file. Keep the\n"
    "cluster key elsewhere: without it the secrets in the backup stay sealed. How it comes\n"
    "back: weir-controller --restore-file FILE, docs/operations.md.\n"
    "upgrade check: what each process runs, which versions of protocol and disk formats it\n"
    "writes and reads, whether one of them may be stopped now, and which is next. The exit\n"
    "code is 1 and the reasons are told when none may; what is only worth knowing is told\n"
    "with \"careful\".\n"
    "\n";

static const char moving[] =
    "broker drain: its replicas move to other brokers, and none comes; undrain takes that\n"
    "back. broker remove: of a broker without replicas, for good: it may come back with an\n"
    "empty data directory only. broker replace: of a dead one; its replicas are made anew\n"
    "elsewhere now, not only after the controllers' replace-after. broker label: its zone,\n"
    "whatever its configuration says. rebalance: even numbers of replicas, for instance\n"
    "after a broker was added; moves stop ends that. Progress is shown until it is done;\n"
    "ending the command does not end the work, and it may be given again. What would\n"
    "leave replicas less safe is refused, with the reason.\n"
    "cluster consent-failover: when more than a third of the brokers fall silent within\n"
    "minutes, the controllers suppose that they themselves are cut off, and hold the rest;\n"
    "this says that those brokers are dead indeed.\n"
    "shard force-recover: a majority of the shard's disks is lost. It goes on with what\n"
    "the survivor has; acknowledged records that only the others had are lost for ever,\n"
    "and readers are told where. --insist: although the others' disks may come back.\n"
    "leader move: BROKER leads the shard; writes pause for some milliseconds, which are\n"
    "told. leader balance: every shard back to the broker that should lead it.\n"
    "balance: what the cluster moves by itself to give brokers similar loads, what it\n"
    "would move and why it does not; on and off; its settings, which hold at once.\n"
    "\n";

static const char explanation[] =
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
    "app: applications that consume streams. describe: for each shard who has it, how far\n"
    "it has got (everything before the checkpoint's sequence number is processed), how old\n"
    "the first record is that is not and how many there are (? or null: nobody who knows\n"
    "has answered), and why it is stuck. reset: all its shards begin again there (or those\n"
    "of one stream, or one shard, whose children do not wait for it again); it may run\n"
    "meanwhile.\n"
    "delete: forgets its checkpoints; --force although it has workers.\n"
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
    "keyring: the keys of encryption at rest. KEY is a key's id, an alias (alias/NAME) or\n"
    "the ARN of either. While a key is disabled or pending deletion, streams that it\n"
    "encrypts can be neither written nor read. rotate: a new version encrypts from now\n"
    "on, all versions decrypt. delete: the key is destroyed after --days (default 30), and\n"
    "everything that it encrypted is lost for ever. Secrets never leave the controllers.\n"
    "stream encrypt: what is written from now on is stored encrypted; --key defaults to\n"
    "alias/aws/kinesis. stream decrypt: from now on it is not; what is stored stays as it\n"
    "is, and readable as long as its key is enabled.\n"
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
    {"cluster",    "status",           0, "cluster status [--json]",                                     run_cluster_status     },
    {"top",        NULL,               0, "top [--interval TIME] [--once] [--json]",                     run_top                },
    {"metrics",    NULL,               1, "metrics NODE",                                                run_metrics            },
    {"log-level",  NULL,               2, "log-level NODE LEVEL [--json]",                               run_log_level          },
    {"debug",      "bundle",           0, "debug bundle [--out FILE.tar.gz]",                            run_debug_bundle       },
    {"controller", "list",             0, "controller list [--json]",                                    run_controller_list    },
    {"controller", "add",              1, "controller add ID=HOST:PORT [--json]",                        run_controller_add     },
    {"controller", "replace",          2, "controller replace OLD NEW=HOST:PORT [--json]",
     run_controller_replace                                                                                                     },
    {"controller", "remove",           1, "controller remove CONTROLLER [--force] [--json]",
     run_controller_remove                                                                                                      },
    {"controller", "backup",           0, "controller backup --out FILE [--json]",                       run_controller_backup  },
    {"upgrade",    "check",            0, "upgrade check [--json]",                                      run_upgrade_check      },
    {"broker",     "list",             0, "broker list [--json]",                                        run_broker_list        },
    {"broker",     "drain",            1, "broker drain BROKER [--no-wait] [--json]",                    run_broker_drain       },
    {"broker",     "undrain",          1, "broker undrain BROKER [--json]",                              run_broker_undrain     },
    {"broker",     "replace",          1, "broker replace BROKER [--no-wait] [--json]",                  run_broker_replace     },
    {"broker",     "remove",           1, "broker remove BROKER [--json]",                               run_broker_remove      },
    {"broker",     "label",            2, "broker label BROKER zone=ZONE [--json]",                      run_broker_label       },
    {"rebalance",  NULL,               0, "rebalance [--no-wait] [--json]",                              run_rebalance          },
    {"moves",      "list",             0, "moves list [--json]",                                         run_moves_list         },
    {"moves",      "stop",             0, "moves stop [--json]",                                         run_moves_stop         },
    {"leader",     "move",             3, "leader move STREAM SHARD BROKER [--json]",                    run_leader_move        },
    {"leader",     "balance",          0, "leader balance [--json]",                                     run_leader_balance     },
    {"balance",    "status",           0, "balance status [--json]",                                     run_balance_status     },
    {"balance",    "on",               1, "balance on leaders|replicas|all [--json]",                    run_balance_on         },
    {"balance",    "off",              1, "balance off leaders|replicas|all [--json]",                   run_balance_off        },
    {"balance",    "set",              2, "balance set SETTING VALUE|default [--json]",                  run_balance_set        },
    {"stream",     "list",             0, "stream list [--json]",                                        run_stream_list        },
    {"stream",     "describe",         1, "stream describe STREAM [--json]",                             run_stream_describe    },
    {"stream",     "create",           1, "stream create STREAM [--shards N] [...]",                     run_stream_create      },
    {"stream",     "delete",           1, "stream delete STREAM [--no-wait]",                            run_stream_delete      },
    {"stream",     "retention",        2, "stream retention STREAM HOURS",                               run_stream_retention   },
    {"stream",     "reshard",          2, "stream reshard STREAM SHARDS [--no-wait]",                    run_stream_reshard     },
    {"app",        "list",             0, "app list [--json]",                                           run_app_list           },
    {"app",        "describe",         1, "app describe APP [--json]",                                   run_app_describe       },
    {"app",        "reset",            1, "app reset APP --from POSITION [--stream STREAM]",             run_app_reset          },
    {"app",        "delete",           1, "app delete APP [--force]",                                    run_app_delete         },
    {"shard",      "list",             1, "shard list STREAM [--json]",                                  run_shard_list         },
    {"shard",      "split",            2, "shard split STREAM SHARD [--at HASH_KEY] [--no-wait]",        run_shard_split        },
    {"shard",      "force-recover",    2,
     "shard force-recover STREAM SHARD --survivor BROKER --accept-loss",                                 run_shard_force_recover},
    {"shard",      "merge",            3, "shard merge STREAM SHARD NEIGHBOUR [--no-wait]",              run_shard_merge        },
    {"stream",     "limits",           1, "stream limits STREAM [--write-bytes N] [...] [--json]",
     run_stream_limits                                                                                                          },
    {"shard",      "metrics",          1, "shard metrics STREAM [--json]",                               run_shard_metrics      },
    {"key",        "create",           0, "key create --name NAME [--json]",                             run_key_create         },
    {"key",        "list",             0, "key list [--json]",                                           run_key_list           },
    {"key",        "enable",           1, "key enable ACCESS_KEY_ID",                                    run_key_enable         },
    {"key",        "disable",          1, "key disable ACCESS_KEY_ID",                                   run_key_disable        },
    {"key",        "delete",           1, "key delete ACCESS_KEY_ID",                                    run_key_delete         },
    {"stream",     "encrypt",          1, "stream encrypt STREAM [--key KEY] [--no-wait] [--json]",
     run_stream_encrypt                                                                                                         },
    {"stream",     "decrypt",          1, "stream decrypt STREAM [--key KEY] [--no-wait] [--json]",
     run_stream_decrypt                                                                                                         },
    {"stream",     "mode",             2, "stream mode STREAM provisioned|on-demand [--json]",           run_stream_mode        },
    {"stream",     "record-size",      2, "stream record-size STREAM KIB [--json]",                      run_stream_record_size },
    {"stream",     "monitor",          2, "stream monitor STREAM METRIC,METRIC...|ALL [--json]",
     run_stream_monitor                                                                                                         },
    {"stream",     "unmonitor",        2, "stream unmonitor STREAM METRIC,METRIC...|ALL [--json]",
     run_stream_unmonitor                                                                                                       },
    {"stream",     "tag",              2, "stream tag STREAM KEY=VALUE [--json]",                        run_stream_tag         },
    {"stream",     "untag",            2, "stream untag STREAM KEY [--json]",                            run_stream_untag       },
    {"consumer",   "register",         2, "consumer register STREAM NAME [--json]",                      run_consumer_register  },
    {"consumer",   "deregister",       2, "consumer deregister STREAM NAME [--json]",
     run_consumer_deregister                                                                                                    },
    {"keyring",    "create",           0, "keyring create [--alias NAME] [--description TEXT] [--json]",
     run_keyring_create                                                                                                         },
    {"keyring",    "list",             0, "keyring list [--json]",                                       run_keyring_list       },
    {"keyring",    "describe",         1, "keyring describe KEY [--json]",                               run_keyring_describe   },
    {"keyring",    "enable",           1, "keyring enable KEY [--json]",                                 run_keyring_enable     },
    {"keyring",    "disable",          1, "keyring disable KEY [--json]",                                run_keyring_disable    },
    {"keyring",    "rotate",           1, "keyring rotate KEY [--json]",                                 run_keyring_rotate     },
    {"keyring",    "delete",           1, "keyring delete KEY [--days DAYS] [--json]",                   run_keyring_delete     },
    {"keyring",    "cancel-deletion",  1, "keyring cancel-deletion KEY [--json]",
     run_keyring_cancel_deletion                                                                                                },
    {"keyring",    "alias",            2, "keyring alias KEY NAME [--json]",                             run_keyring_alias      },
    {"keyring",    "unalias",          1, "keyring unalias NAME [--json]",                               run_keyring_unalias    },
    {"cluster",    "consent-failover", 0, "cluster consent-failover [--json]",                           run_cluster_consent    },
};

int main(int argc, char **argv)
{
    static const char *const help[] = {usage, watching, moving, controllers, explanation, NULL};
    return program_main("weirctl", help, commands, sizeof(commands) / sizeof(commands[0]), argc,
                        argv);
}
