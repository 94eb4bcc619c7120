/* weir: produce and consume from a terminal. */
#include "client/cli/program.h"

/* In parts: a C compiler need not take a longer string than 4,095 bytes. */
static const char *const help[] = {
    "weir: put records into streams of a Weir cluster, and get them out again.\n"
    "\n"
    "Usage:\n"
    "  weir put STREAM [options] < lines\n"
    "  weir get STREAM [options]\n"
    "  weir consume APP STREAM[,STREAM...] [options]\n"
    "  weir consume-exec APP STREAM[,STREAM...] [options] -- COMMAND...\n"
    "  weir bench STREAM [options]\n"
    "  weir stream create STREAM [--shards N] [--retention HOURS]\n"
    "  weir stream delete STREAM\n"
    "  weir stream list [--json]\n"
    "  weir stream describe STREAM [--json]\n"
    "\n"
    "put: every line of standard input becomes a record, without its line end. Lines\n"
    "with the same partition key go to the same shard and stay in order. Each line is\n"
    "stored exactly once, whatever happens to brokers meanwhile. At the end a line on\n"
    "standard error tells the counts; the exit code is 1 if a record failed.\n"
    "  --key-field N      the key is field N of the line, from 1\n"
    "  --delimiter D      fields are separated by this character (\\t: tab); default:\n"
    "                     by any number of blanks and tabs\n"
    "  --key K            all lines have this key\n"
    "  --key-random       each line has a random key (the default): spread evenly,\n"
    "                     without an order among them\n"
    "  --ack-log FILE     write a line for each line that is stored, as soon as it is:\n"
    "                     number of the input line, shard, sequence number (and, when it is\n"
    "                     aggregated, its number within the record)\n"
    "  --compression C    zstd, lz4 or none (the default): of what travels and is stored;\n"
    "                     all readers get plain records\n"
    "  --aggregate        many lines become one record, as the Kinesis Producer Library\n"
    "                     makes it: for readers that take it apart (get --deaggregate)\n"
    "  --aggregate-bytes N  of such a record, 1024 to 1048576 (default 51200)\n"
    "  --gather TIME      wait so long for more lines before anything is sent (default 0)\n"
    "  --give-up TIME     a line that is not stored after this long has failed (default 2m)\n"
    "  --quiet            no progress and no counts\n"
    "\n"
    "get: prints the records, one a line. Without --follow it ends when every shard is\n"
    "at its newest record. Shards are printed as they come: in order within each.\n"
    "  --from WHERE       where to begin; one of\n"
    "                       trim-horizon           the oldest record (the default)\n"
    "                       latest                 only what comes from now on\n"
    "                       at-timestamp TIME      the first that arrived then or\n"
    "                                              later: 1700000000.5 (seconds since\n"
    "                                              1970) or 2026-03-01T12:00:00Z\n"
    "                       at-sequence NUMBER     this record, in its shard\n"
    "                       after-sequence NUMBER  the one behind it\n"
    "  --shard ID         only this shard: shardId-000000000002, or 2\n"
    "  --deaggregate      records that hold many (weir put --aggregate, or the Kinesis\n"
    "                     Producer Library) come as these many\n"
    "  --follow           wait for more, for ever\n"
    "  --count N          end after N records\n"
    "  --json             one object a line: shard, sequence_number, partition_key,\n"
    "                     arrival_ms, and data, or data_base64 where that is not UTF-8\n"
    "\n",
    "bench: puts made-up records and reads them back, with a live view on a terminal.\n"
    "  --producers N      producers, each with its own connection (default 1; 0: none)\n"
    "  --consumers N      how many read all of the stream (default 1; 0: none)\n"
    "  --record-bytes N   data of a record, 24 to 1048576 (default 1024)\n"
    "  --rate N           records a second, of all producers (default: as many as go)\n"
    "  --keys N           different partition keys (default 1000)\n"
    "  --duration TIME    how long to put (default 10s)\n"
    "  --compression, --aggregate, --aggregate-bytes, --gather   as put\n"
    "  --json             one JSON object at the end\n"
    "\n"
    "consume: a worker of the application APP. Any number of workers, anywhere, share the\n"
    "shards of its streams; what is printed is checkpointed, and each shard goes on where\n"
    "its checkpoint says, at whichever worker. Ends with SIGINT or SIGTERM.\n"
    "  --worker NAME      of which there is one at a time; default: host, process and a\n"
    "                     random part\n"
    "  --from WHERE       where the application begins that has never read the stream:\n"
    "                     trim-horizon (the default), latest, at-timestamp TIME\n"
    "  --push             brokers send records as they are stored, instead of being asked\n"
    "  --records-max N    at most so many at once for each shard\n"
    "  --count N          end after N records\n"
    "  --json             as get\n"
    "\n"
    "consume-exec: the same, with a record processor that speaks the MultiLangDaemon\n"
    "protocol (as programs for amazon_kclpy and aws-kcl do) on its standard input and\n"
    "output: COMMAND is started for each shard that this worker has. When it fails, it is\n"
    "started again at the shard's checkpoint. Options as consume, and\n"
    "  --answer-within TIME  a processor that takes longer for an answer has failed\n"
    "                     (default: it may take for ever)\n"
    "\n"
    "stream: as weirctl stream; see weirctl --help.\n"
    "\n" PROGRAM_COMMON_HELP "\n"
    "Examples:\n"
    "  weir stream create orders --shards 4\n"
    "  weir put orders --key-field 1 < orders.txt\n"
    "  weir get orders --from latest --follow --json\n"
    "  weir consume billing orders --json\n"
    "  weir consume-exec billing orders -- python3 processor.py\n",
    NULL,
};

static const struct command commands[] = {
    {"put",          NULL,       1, "put STREAM [options] < lines",                                run_put            },
    {"get",          NULL,       1, "get STREAM [options]",                                        run_get            },
    {"bench",        NULL,       1, "bench STREAM [options]",                                      run_bench          },
    {"consume",      NULL,       2, "consume APP STREAM[,STREAM...] [options]",                    run_consume        },
    {"consume-exec", NULL,       2, "consume-exec APP STREAM[,STREAM...] [options] -- COMMAND...",
     run_consume_exec                                                                                                 },
    {"stream",       "create",   1, "stream create STREAM [--shards N]",                           run_stream_create  },
    {"stream",       "delete",   1, "stream delete STREAM",                                        run_stream_delete  },
    {"stream",       "list",     0, "stream list",                                                 run_stream_list    },
    {"stream",       "describe", 1, "stream describe STREAM",                                      run_stream_describe},
};

int main(int argc, char **argv)
{
    return program_main("weir", help, commands, sizeof(commands) / sizeof(commands[0]), argc, argv);
}
