/* The tables. A change of them raises DB_FORMAT; new tables appear by themselves when an older file
 * is opened, any other change adds a step to db_upgrade(). */
#include "controller/db/internal.h"

const char *const db_schema =
    "CREATE TABLE IF NOT EXISTS meta (\n"
    "  id            INTEGER PRIMARY KEY CHECK (id = 1),\n"
    "  format        INTEGER NOT NULL, -- of these tables\n"
    "  applied_index INTEGER NOT NULL, -- of the Raft log: entries up to here are in the rows\n"
    "  version       INTEGER NOT NULL, -- of the metadata image\n"
    "  time_ms       INTEGER NOT NULL, -- cluster time: the greatest that a command carried\n"
    "  state_hash    INTEGER NOT NULL, -- rolling hash over all that was applied\n"
    "  next_producer INTEGER NOT NULL, -- producer ids below were given out\n"
    "  next_stream   INTEGER NOT NULL, -- stream ids below were used\n"
    "  cluster       BLOB              -- uuid; NULL before bootstrap\n"
    ") STRICT;\n"

    "CREATE TABLE IF NOT EXISTS brokers (\n"
    "  id        INTEGER PRIMARY KEY,\n"
    "  zone      TEXT NOT NULL,    -- value of the failure-domain label\n"
    "  host      TEXT NOT NULL,    -- where it serves\n"
    "  port      INTEGER NOT NULL,\n"
    "  boot      INTEGER NOT NULL, -- of its last registration\n"
    "  disk_gen  INTEGER NOT NULL, -- of the disk it runs with\n"
    "  disk      BLOB NOT NULL,    -- that disk's uuid\n"
    "  alive     INTEGER NOT NULL, -- as the active controller last judged\n"
    "  replicas  INTEGER NOT NULL, -- count of its voters in current configurations\n"
    "  preferred INTEGER NOT NULL  -- count of shards that prefer it as leader\n"
    ") STRICT;\n"

    "CREATE TABLE IF NOT EXISTS disks (\n"
    "  id       BLOB PRIMARY KEY,  -- uuid, made when the directory was formatted\n"
    "  broker   INTEGER NOT NULL,  -- its owner, for ever\n"
    "  disk_gen INTEGER NOT NULL,  -- which disk of this broker it is: 1, 2, ...\n"
    "  boot     INTEGER NOT NULL,  -- the highest that was registered with it\n"
    "  process  BLOB NOT NULL,     -- random id of the process of that boot\n"
    "  UNIQUE (broker, disk_gen)\n"
    ") STRICT, WITHOUT ROWID;\n"

    "CREATE TABLE IF NOT EXISTS streams (\n"
    "  id              INTEGER PRIMARY KEY, -- names an incarnation, never used twice\n"
    "  name            TEXT NOT NULL UNIQUE,\n"
    "  state           INTEGER NOT NULL,    -- enum db_stream_state\n"
    "  created_ms      INTEGER NOT NULL,\n"
    "  retention_hours INTEGER NOT NULL,\n"
    "  shard_count     INTEGER NOT NULL,    -- shards ever made\n"
    "  waiting         INTEGER NOT NULL     -- shards that have never been ACTIVE\n"
    ") STRICT;\n"

    "CREATE TABLE IF NOT EXISTS shards (\n"
    "  id          INTEGER PRIMARY KEY, -- stream << 32 | number\n"
    "  hash_first  BLOB NOT NULL,       -- 16 bytes big-endian, both ends included\n"
    "  hash_last   BLOB NOT NULL,\n"
    "  created_s   INTEGER NOT NULL,    -- second in its sequence numbers\n"
    "  phase       INTEGER NOT NULL,    -- enum db_shard_phase\n"
    "  granted     INTEGER NOT NULL,    -- has ever been ACTIVE\n"
    "  epoch       INTEGER NOT NULL,    -- the newest ever committed\n"
    "  generation  INTEGER NOT NULL,    -- rises only with a forced recovery\n"
    "  preferred   INTEGER NOT NULL,    -- broker that should lead\n"
    "  leader      INTEGER NOT NULL,    -- broker; 0: none\n"
    "  leader_gen  INTEGER NOT NULL,    -- its disk\n"
    "  leader_boot INTEGER NOT NULL,\n"
    "  cfg_version INTEGER NOT NULL,    -- of the current configuration\n"
    "  prev_version INTEGER NOT NULL    -- of the one that is still possible too; 0: none\n"
    ") STRICT;\n"

    "CREATE TABLE IF NOT EXISTS shard_replicas (\n"
    "  shard    INTEGER NOT NULL,\n"
    "  config   INTEGER NOT NULL, -- 0 current, 1 previous\n"
    "  position INTEGER NOT NULL,\n"
    "  broker   INTEGER NOT NULL,\n"
    "  disk_gen INTEGER NOT NULL, -- a replica without its disk is another replica\n"
    "  made     INTEGER NOT NULL, -- it has reported to a fence: it exists on that disk\n"
    "  PRIMARY KEY (shard, config, position)\n"
    ") STRICT, WITHOUT ROWID;\n"

    "CREATE TABLE IF NOT EXISTS drops (\n"
    "  broker INTEGER NOT NULL,   -- has to delete its replica of\n"
    "  shard  INTEGER NOT NULL,   -- this shard, and has not confirmed it\n"
    "  PRIMARY KEY (broker, shard)\n"
    ") STRICT, WITHOUT ROWID;\n"
    "CREATE INDEX IF NOT EXISTS drops_by_shard ON drops (shard, broker);\n"

    "CREATE TABLE IF NOT EXISTS request_results (\n"
    "  seq     INTEGER PRIMARY KEY, -- in the order of the log\n"
    "  request BLOB NOT NULL UNIQUE,\n"
    "  time_ms INTEGER NOT NULL,    -- cluster time of its command\n"
    "  status  INTEGER NOT NULL,\n"
    "  text    TEXT NOT NULL,\n"
    "  body    BLOB NOT NULL\n"
    ") STRICT;\n";

/* Of its own: compilers need not take a longer string than the one above. */
const char *const db_schema_account =
    "CREATE TABLE IF NOT EXISTS stream_attributes (\n"
    "  stream     INTEGER PRIMARY KEY,\n"
    "  attributes BLOB NOT NULL        -- a StreamAttributes (proto/schema/metadata.proto)\n"
    ") STRICT;\n"

    "CREATE TABLE IF NOT EXISTS settings (\n"
    "  id       INTEGER PRIMARY KEY CHECK (id = 1),\n"
    "  settings BLOB NOT NULL          -- a ClusterSettings\n"
    ") STRICT;\n"

    "CREATE TABLE IF NOT EXISTS access_keys (\n"
    "  id         TEXT PRIMARY KEY,\n"
    "  name       TEXT NOT NULL,    -- its principal\n"
    "  enabled    INTEGER NOT NULL,\n"
    "  created_ms INTEGER NOT NULL,\n"
    "  sealed     BLOB NOT NULL     -- the secret, encrypted under a cluster key\n"
    ") STRICT, WITHOUT ROWID;\n"

    "CREATE TABLE IF NOT EXISTS ring_keys (\n"
    "  id  TEXT PRIMARY KEY,        -- a uuid\n"
    "  key BLOB NOT NULL            -- a RingKey (proto/schema/keyring.proto)\n"
    ") STRICT, WITHOUT ROWID;\n"

    "CREATE TABLE IF NOT EXISTS token_keys (\n"
    "  id     INTEGER PRIMARY KEY,  -- the highest seals, all of them open\n"
    "  sealed BLOB NOT NULL         -- encrypted under a cluster key\n"
    ") STRICT;\n";

const char *const db_statements[DB_STATEMENT_COUNT] = {
#define X(name, sql) [DB_##name] = (sql),
#include "controller/db/statements.def"
    DB_STATEMENTS(X)
#undef X
};
