#!/usr/bin/env python3
"""Streams in on-demand mode: shards follow the load up and down, and nothing is lost; what is counted of shards; limits.

usage: kinesis_scaling.py --bin DIR [--only NAME]"""
import argparse
import sys
import threading
import time

from cluster import Cluster, expect, run_all
from kinesis_api import S0, Api, fails, told, with_boto3

SETTINGS = ("limit-write-records=100", "limit-write-bytes=256KiB", "limit-read-calls=0", "limit-operations=DescribeLimits=2")
SCALING = ("scaling-window=1s", "scaling-idle=4s", "scaling-cooldown=1s", "scaling-shards-max=24")
MAX_HASH = 2 ** 128 - 1


def open_shards(api, name):
    shards = api.any().list_shards(StreamName=name, ShardFilter={"Type": "AT_LATEST"})["Shards"]
    return sorted(shards, key=lambda s: int(s["HashKeyRange"]["StartingHashKey"]))


def wait_for(sentence, seconds, condition):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        expect(time.monotonic() < end, f"{sentence}: not within {seconds} s")
        time.sleep(0.2)


class Writers:
    """Threads that put numbered records, again until each is taken, for as long as they are wanted."""

    def __init__(self, api, name, threads=3, hash_key=None):
        self.api, self.name, self.hash_key = api, name, hash_key
        self.stop = threading.Event()
        self.taken = [[] for _ in range(threads)]
        self.problems = []
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
            expect(not thread.is_alive(), "a writer does not end")
        expect(not self.problems, f"a writer failed: {self.problems[:1]}")

    def entry(self, name, index):
        entry = {"Data": name.encode(), "PartitionKey": name}
        if self.hash_key:
            entry["ExplicitHashKey"] = str(self.hash_key(index))
        return entry

    def run(self, number):
        client, count = self.api.clients[number % len(self.api.clients)], 0
        try:
            while not self.stop.is_set():
                left = [(f"{number}-{count + i}", self.entry(f"{number}-{count + i}", count + i)) for i in range(100)]
                count += 100
                while left:
                    results = client.put_records(StreamName=self.name, Records=[e for _, e in left])["Records"]
                    self.taken[number] += [left[i][0] for i, r in enumerate(results) if "ErrorCode" not in r]
                    left = [left[i] for i, r in enumerate(results) if "ErrorCode" in r]
                    if left:
                        time.sleep(0.05)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the test must hear of it
            self.problems.append(repr(problem))

    def all(self):
        return sorted(name for taken in self.taken for name in taken)


def shards_follow_the_load(api):
    api.any().create_stream(StreamName="tide", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    api.wait_active("tide")
    first = len(open_shards(api, "tide"))
    expect(first == 4, f"an on-demand stream begins with {first} shards")
    with Writers(api, "tide") as writers:
        most = wait_for("more shards under load", 40, lambda: (n := len(open_shards(api, "tide"))) >= 8 and n)
    wait_for("fewer shards without load", 60, lambda: len(open_shards(api, "tide")) == 4)
    api.wait_active("tide")
    family = api.read_family("tide")
    got = sorted(r["Data"].decode() for records in family.values() for r in records)
    expect(got == writers.all(), f"{len(got)} records of {len(writers.all())}, {len(set(got))} different ones")
    per_key = {}
    for shard in api.any().list_shards(StreamName="tide")["Shards"]:
        for record in family[shard["ShardId"]]:
            per_key.setdefault(record["PartitionKey"], []).append(int(record["SequenceNumber"]))
    expect(all(numbers == sorted(numbers) for numbers in per_key.values()), "sequence numbers of a key fall")
    return f"4 shards, {most} under load, 4 again; {len(got)} records"


def hot_keys_get_the_new_shards(api):
    """The load is in a sixteenth of the first shard: splits cut there, and the others stay whole."""
    api.any().create_stream(StreamName="hot", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    api.wait_active("hot")
    width = MAX_HASH // 64
    with Writers(api, "hot", threads=1, hash_key=lambda i: 3 * width // 2 + (i * 7919) % 1000 * (width // 1000)):
        shards = wait_for("a split", 40, lambda: len(s := open_shards(api, "hot")) >= 6 and s)
    edges = [int(s["HashKeyRange"]["StartingHashKey"]) for s in shards]
    inside = [e for e in edges if width <= e <= 3 * width]
    expect(len(inside) >= 1, f"no shard begins where the load is: {[e / MAX_HASH for e in edges]}")
    return f"{len(shards)} shards, {len(inside)} begin within the hot part"


def a_single_hot_key_is_left_alone(api):
    api.any().create_stream(StreamName="lonely", StreamModeDetails={"StreamMode": "ON_DEMAND"})
    api.wait_active("lonely")
    with Writers(api, "lonely", threads=1, hash_key=lambda i: 5):
        time.sleep(5)
        count = len(open_shards(api, "lonely"))
    expect(count == 4, f"{count} shards for one key")


def metrics_are_counted_where_enabled(api):
    cluster = api.cluster
    api.create("counted", 1)
    result = cluster.run("weirctl", "shard", "metrics", "counted")
    expect("enabled" in result.stdout, f"nothing says that no metrics are enabled: {result.stdout}")
    api.any().enable_enhanced_monitoring(StreamName="counted", ShardLevelMetrics=["ALL"])
    api.wait_active("counted")
    before = cluster.json("weirctl", "shard", "metrics", "counted")["shards"][0]["metrics"]
    entries = [{"Data": b"x" * 100, "PartitionKey": "k" * 10} for _ in range(300)]
    refused = api.clients[0].put_records(StreamName="counted", Records=entries)["FailedRecordCount"]
    expect(refused == 200, f"{refused} records refused at 100/s")
    records, _ = api.read(api.iterator("counted"))
    after = cluster.json("weirctl", "shard", "metrics", "counted")["shards"][0]["metrics"]
    grown = {name: after[name] - before[name] for name in after}
    for name, value in {"IncomingRecords": 100, "IncomingBytes": 11000, "OutgoingRecords": len(records),
                        "WriteProvisionedThroughputExceeded": 200}.items():
        expect(grown[name] == value, f"{name} grew by {grown[name]}, not {value}: {after}")
    api.any().disable_enhanced_monitoring(StreamName="counted", ShardLevelMetrics=["IncomingBytes"])
    api.wait_active("counted")
    left = cluster.json("weirctl", "shard", "metrics", "counted")["shards"][0]["metrics"]
    expect("IncomingBytes" not in left and "IncomingRecords" in left, f"after disabling one: {left}")


def a_stream_has_limits_of_its_own(api):
    cluster = api.cluster
    api.create("wide", 1)
    entries = [{"Data": b"x", "PartitionKey": "k"} for _ in range(300)]
    expect(api.any().put_records(StreamName="wide", Records=entries)["FailedRecordCount"] == 200, "the cluster's limit")
    cluster.run("weirctl", "stream", "limits", "wide", "--write-records", "none", "--read-calls", "2", "--iterator-calls", "3")
    api.wait_active("wide")
    said = cluster.json("weirctl", "stream", "limits", "wide")
    expect(said == {"stream": "wide", "write_bytes": "cluster", "write_records": "none", "read_bytes": "cluster", "read_calls": 2,
                    "iterator_calls": 3, "subscription_bytes": "cluster"}, f"limits as told: {said}")
    for _ in range(3):
        expect(api.any().put_records(StreamName="wide", Records=entries)["FailedRecordCount"] == 0, "no limit is still one")
    once = api.client(api.endpoints[0], attempts=1)
    iterator = once.get_shard_iterator(StreamName="wide", ShardId=S0, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    for _ in range(2):
        once.get_records(ShardIterator=iterator, Limit=1)
    said = fails("ProvisionedThroughputExceededException", lambda: [once.get_records(ShardIterator=iterator, Limit=1) for _ in "ab"])
    expect("wide" in said, f"a text without the stream: {said}")
    fails("ProvisionedThroughputExceededException",
          lambda: [once.get_shard_iterator(StreamName="wide", ShardId=S0, ShardIteratorType="LATEST") for _ in range(6)])
    cluster.run("weirctl", "stream", "limits", "wide", "--write-records", "cluster")
    result = cluster.run("weirctl", "stream", "limits", "wide", "--write-records", "many", check=False)
    expect(result.returncode == 2 and "many" in result.stderr, f"a bad number: {result.stderr}")


def calls_are_limited_and_say_so(api):
    once = api.client(api.endpoints[0], attempts=1)
    said = fails("LimitExceededException", lambda: [once.describe_limits() for _ in range(6)])
    expect("Rate exceeded" in said, said)
    time.sleep(1)
    once.describe_limits()


def subscriptions_are_paced(api):
    """4 MiB at 1 MiB/s: the first second's worth comes at once."""
    api.create("pace", 1)
    api.cluster.run("weirctl", "stream", "limits", "pace", "--subscription-bytes", "1MiB", "--write-bytes", "none",
                    "--write-records", "none")
    api.wait_active("pace")
    for _ in range(4):
        api.any().put_records(StreamName="pace", Records=[{"Data": b"x" * 104857, "PartitionKey": "k"} for _ in range(10)])
    stream = api.any().describe_stream_summary(StreamName="pace")["StreamDescriptionSummary"]["StreamARN"]
    consumer = api.any().register_stream_consumer(StreamARN=stream, ConsumerName="c")["Consumer"]["ConsumerARN"]
    wait_for("an active consumer", 10, lambda: all(c.describe_stream_consumer(ConsumerARN=consumer)["ConsumerDescription"][
        "ConsumerStatus"] == "ACTIVE" for c in api.clients))
    begin, count = time.monotonic(), 0
    events = api.any().subscribe_to_shard(ConsumerARN=consumer, ShardId=S0, StartingPosition={"Type": "TRIM_HORIZON"})["EventStream"]
    for event in events:
        count += len(event["SubscribeToShardEvent"]["Records"])
        if count >= 40:
            break
    took = time.monotonic() - begin
    events.close()
    expect(count == 40 and 1.5 < took < 15, f"{count} records after {took:.1f} s")
    return f"4 MiB in {took:.1f} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    missing = with_boto3()
    if missing:
        print(f"skipped: {missing}")
        return 0
    tests = [("shards follow the load", shards_follow_the_load), ("hot keys get the new shards", hot_keys_get_the_new_shards),
             ("a single hot key is left alone", a_single_hot_key_is_left_alone),
             ("metrics are counted where enabled", metrics_are_counted_where_enabled),
             ("a stream has limits of its own", a_stream_has_limits_of_its_own),
             ("calls are limited and say so", calls_are_limited_and_say_so), ("subscriptions are paced", subscriptions_are_paced)]
    with Cluster(arguments.bin, settings=SETTINGS, controller_settings=SCALING) as cluster:
        api = Api(cluster)
        failed = run_all([(name, lambda function=function: told(function, api)) for name, function in tests if arguments.only in name])
        cluster.no_reports()
        if failed:
            cluster.show_logs()
    return failed


if __name__ == "__main__":
    sys.exit(main())
