#!/usr/bin/env python3
"""The Kinesis interface as boto3 uses it, over three brokers, while brokers die and shards are split.

boto3 comes from where Python finds it, else from an index into build/venv; without either the tests are skipped.

usage: kinesis_api.py --bin DIR [--only NAME]"""
import argparse
import base64
import datetime
import itertools
import os
import subprocess
import sys
import threading
import time

from cluster import TREE, Cluster, Failed, expect, run_all

S0 = "shardId-000000000000"
UTC = datetime.timezone.utc


def with_boto3():
    """Runs again in a Python that has boto3. Returns why there is none, or None."""
    try:
        import boto3  # noqa: F401
        return None
    except ImportError:
        pass
    if os.environ.get("WEIR_TEST_VENV"):
        return "the virtual environment has no boto3"
    venv = os.path.join(TREE, "build", "venv")
    python = os.path.join(venv, "bin", "python")
    try:
        if not os.path.exists(python):
            subprocess.run([sys.executable, "-m", "venv", venv], check=True, capture_output=True, timeout=120)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "boto3"], check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as problem:
        return f"boto3 cannot be installed: {problem}"
    os.execve(python, [python, *sys.argv], dict(os.environ, WEIR_TEST_VENV="1"))


class Api:
    """A client for each broker, and one that takes them in turn."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.endpoints = cluster.env["WEIR_KINESIS_ENDPOINTS"].split(",")
        self.clients = [self.client(endpoint) for endpoint in self.endpoints]
        self.turn = itertools.cycle(self.clients)
        self.wait_serving()

    def wait_serving(self, seconds=20):
        """Until every broker serves, and knows the key."""
        from botocore.exceptions import BotoCoreError, ClientError
        end = time.monotonic() + seconds
        for client in self.clients:
            while True:
                try:
                    client.list_streams()
                    break
                except (BotoCoreError, ClientError) as problem:
                    expect(time.monotonic() < end, f"not every broker serves after {seconds} s: {problem}")
                    time.sleep(0.1)

    def client(self, endpoint, attempts=8, **more):
        import boto3
        from botocore.config import Config
        env = self.cluster.env
        return boto3.client("kinesis", endpoint_url=endpoint, region_name=env["AWS_REGION"], verify=env["AWS_CA_BUNDLE"],
                            aws_access_key_id=env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
                            config=Config(retries={"mode": "standard", "total_max_attempts": attempts}, connect_timeout=3,
                                          read_timeout=20, max_pool_connections=20, **more))

    def any(self):
        return next(self.turn)

    def create(self, name, shards=1):
        self.any().create_stream(StreamName=name, ShardCount=shards)
        self.wait_active(name)

    def wait_active(self, name):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if all(c.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
                   for c in self.clients):
                return
            time.sleep(0.05)
        raise ValueError(f"{name} did not become ACTIVE")

    def iterator(self, name, shard=S0, kind="TRIM_HORIZON", **more):
        return self.any().get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]

    def read(self, iterator, count=None, seconds=40):
        """Records from there on, from any broker: so many, or up to the tip or the end; and the last answer."""
        got, end = [], time.monotonic() + seconds
        while True:
            page = self.any().get_records(ShardIterator=iterator)
            got += page["Records"]
            iterator = page.get("NextShardIterator")
            at_tip = count is None and page["MillisBehindLatest"] == 0 and not page["Records"]
            if iterator is None or at_tip or (count is not None and len(got) >= count):
                return got, page
            expect(time.monotonic() < end, f"only {len(got)} records in {seconds} s")
            time.sleep(0.02)

    def read_family(self, name):
        """All records of a stream, each shard after its parents: {shard: records}."""
        done, todo = {}, [s["ShardId"] for s in self.any().list_shards(StreamName=name)["Shards"] if "ParentShardId" not in s]
        while todo:
            shard = todo.pop(0)
            if shard in done:
                continue
            records, page = self.read(self.iterator(name, shard))
            done[shard] = records
            for child in page.get("ChildShards", []):
                if all(parent in done for parent in child["ParentShards"]):
                    todo.append(child["ShardId"])
        return done


def fails(code, call, **arguments):
    from botocore.exceptions import ClientError
    try:
        call(**arguments)
    except ClientError as problem:
        got = problem.response["Error"]["Code"]
        expect(got == code, f"wanted {code}, got {problem}")
        return problem.response["Error"]["Message"]
    expect(False, f"wanted {code}, but it succeeded")


# ---- one call after another, over all brokers ----

def any_broker_answers(api):
    api.create("spread", 4)
    sent = {}
    for i in range(60):
        put = api.any().put_record(StreamName="spread", Data=b"%d" % i, PartitionKey=f"k{i}")
        sent[put["ShardId"], put["SequenceNumber"]] = b"%d" % i
    many = api.any().put_records(StreamName="spread", Records=[{"Data": b"m%d" % i, "PartitionKey": f"m{i}"} for i in range(200)])
    expect(many["FailedRecordCount"] == 0, f"{many['FailedRecordCount']} records failed")
    for i, one in enumerate(many["Records"]):
        sent[one["ShardId"], one["SequenceNumber"]] = b"m%d" % i
    got = {(shard, r["SequenceNumber"]): r["Data"] for shard, records in api.read_family("spread").items() for r in records}
    expect(got == sent, "what was read is not what was put")
    return f"{len(sent)} records"


def large_records(api):
    api.create("large")
    arn = api.any().describe_stream_summary(StreamName="large")["StreamDescriptionSummary"]["StreamARN"]
    data = os.urandom(1 << 20) * 10
    data = data[:-1]
    fails("ValidationException", api.any().put_record, StreamName="large", Data=data, PartitionKey="k")
    api.any().update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=10240)
    api.wait_active("large")
    api.any().put_record(StreamName="large", Data=data, PartitionKey="k")
    got, _ = api.read(api.iterator("large"), 1)
    expect(got[0]["Data"] == data, "a record of 10 MiB came back changed")


def throttled_writers_lose_nothing(api):
    api.create("busy")
    acked, refused = [], 0
    for base in range(0, 3000, 500):
        todo = [b"%d" % (base + i) for i in range(500)]
        while todo:
            answer = api.any().put_records(StreamName="busy", Records=[{"Data": d, "PartitionKey": "k"} for d in todo])
            left = [d for d, one in zip(todo, answer["Records"]) if "ErrorCode" in one]
            expect(len(left) == answer["FailedRecordCount"], "FailedRecordCount does not count the failed records")
            acked += [d for d, one in zip(todo, answer["Records"]) if "ErrorCode" not in one]
            refused += len(left)
            todo = left
            if left:
                time.sleep(0.2)
    expect(refused > 0, "3,000 records at once were never over 1,000 a second")
    got, _ = api.read(api.iterator("busy"), 3000)
    expect(sorted(r["Data"] for r in got) == sorted(acked), "refused records are there, or others are not")
    return f"{refused} refused and sent again"


def retention_and_tags(api):
    api.create("kept")
    api.any().increase_stream_retention_period(StreamName="kept", RetentionPeriodHours=8760)
    api.wait_active("kept")
    fails("InvalidArgumentException", api.any().increase_stream_retention_period, StreamName="kept", RetentionPeriodHours=48)
    api.any().add_tags_to_stream(StreamName="kept", Tags={"a": "1", "b": "2"})
    api.any().remove_tags_from_stream(StreamName="kept", TagKeys=["a"])
    end = time.monotonic() + 5
    while any(c.list_tags_for_stream(StreamName="kept")["Tags"] != [{"Key": "b", "Value": "2"}] for c in api.clients):
        expect(time.monotonic() < end, "the tags did not reach every broker within 5 s")
    hours = {c.describe_stream_summary(StreamName="kept")["StreamDescriptionSummary"]["RetentionPeriodHours"] for c in api.clients}
    expect(hours == {8760}, f"brokers say that retention is {hours}")


# ---- shards that change ----

def split_and_merge_under_load(api):
    """A writer goes on while shards are split and merged; parents end before their children begin."""
    api.create("family", 2)
    stop, acked, problems = threading.Event(), [], []

    def write(client, number):
        i = 0
        while not stop.is_set():
            key = f"w{number}-{i % 50}"
            try:
                put = client.put_record(StreamName="family", Data=b"%d %d" % (number, i), PartitionKey=key)
                acked.append((key, i, put["ShardId"], int(put["SequenceNumber"])))
            except Exception as problem:  # what kind does not matter: none may come
                problems.append(problem)
            i += 1
            time.sleep(0.004)
    writers = [threading.Thread(target=write, args=(c, n)) for n, c in enumerate(api.clients)]
    for writer in writers:
        writer.start()
    try:
        half = str(1 << 126)
        api.any().split_shard(StreamName="family", ShardToSplit=S0, NewStartingHashKey=half)
        api.wait_active("family")
        time.sleep(0.5)
        api.any().merge_shards(StreamName="family", ShardToMerge="shardId-000000000003",
                               AdjacentShardToMerge="shardId-000000000001")
        api.wait_active("family")
        time.sleep(0.5)
        api.any().update_shard_count(StreamName="family", TargetShardCount=4, ScalingType="UNIFORM_SCALING")
        api.wait_active("family")
        time.sleep(0.5)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    expect(not problems, f"{len(problems)} puts failed: {problems[:2]}")
    families = [api.read_family("family") for _ in range(2)]
    expect({s: [r["SequenceNumber"] for r in records] for s, records in families[0].items()} ==
           {s: [r["SequenceNumber"] for r in records] for s, records in families[1].items()}, "two readers differ")
    got, order = [], {}
    for shard, records in families[0].items():  # each shard stands behind its parents
        for r in records:
            number = int(r["Data"].split()[1])
            got.append((r["PartitionKey"], number, shard, int(r["SequenceNumber"])))
            expect(order.get(r["PartitionKey"], -1) < number, f"{r['PartitionKey']}: {number} came late")
            order[r["PartitionKey"]] = number
    expect(sorted(got) == sorted(acked), f"{len(acked)} acknowledged, {len(got)} read, {len(set(got) ^ set(acked))} differ")
    return f"{len(acked)} records, {len(families[0])} shards"


# ---- brokers that die ----

def leader_of(api, name):
    return api.cluster.shards(name)[0]["leader"]


def writes_survive_a_leader(api):
    """Puts through the other brokers while the leader is killed: none fails, none is lost."""
    api.create("killed")
    leader = leader_of(api, "killed")
    clients = [c for i, c in enumerate(api.clients) if f"broker-{i + 1}" != leader]
    stop, acked, problems, gaps = threading.Event(), [], [], [0.0]

    def write():
        i, last = 0, time.monotonic()
        while not stop.is_set():
            try:
                put = clients[i % len(clients)].put_record(StreamName="killed", Data=b"%d" % i, PartitionKey="k")
                acked.append((i, put["SequenceNumber"]))
                gaps.append(time.monotonic() - last)
                last = time.monotonic()
            except Exception as problem:
                problems.append(problem)
            i += 1
            time.sleep(0.002)
    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(1)
    iterator = clients[0].get_shard_iterator(StreamName="killed", ShardId=S0, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    api.cluster.local("kill", leader)
    time.sleep(3)
    stop.set()
    writer.join()
    try:
        expect(not problems, f"{len(problems)} puts failed: {problems[:2]}")
        got = []
        while True:
            page = clients[0].get_records(ShardIterator=iterator)
            got += [(int(r["Data"]), r["SequenceNumber"]) for r in page["Records"]]
            iterator = page["NextShardIterator"]
            if page["MillisBehindLatest"] == 0 and not page["Records"]:
                break
            time.sleep(0.2)
        expect(set(acked) <= set(got), f"{len(set(acked) - set(got))} acknowledged records are gone")
        expect(len(got) - len(acked) <= 5, f"{len(got)} records for {len(acked)} puts")
    finally:
        api.cluster.local("start", leader)
        api.cluster.wait_in_sync("killed")
    return f"{len(acked)} records, longest gap {max(gaps):.2f} s, {len(got) - len(acked)} twice"


def subscription_survives_a_leader(api):
    """Records go on coming, over another broker, when the shard's leader is killed."""
    api.create("pushed")
    arn = api.any().describe_stream_summary(StreamName="pushed")["StreamDescriptionSummary"]["StreamARN"]
    consumer = api.any().register_stream_consumer(StreamARN=arn, ConsumerName="app")["Consumer"]["ConsumerARN"]
    end = time.monotonic() + 10
    while any(c.describe_stream_consumer(ConsumerARN=consumer)["ConsumerDescription"]["ConsumerStatus"] != "ACTIVE"
              for c in api.clients):
        expect(time.monotonic() < end, "the consumer did not become ACTIVE")
        time.sleep(0.05)
    leader = leader_of(api, "pushed")
    clients = [c for i, c in enumerate(api.clients) if f"broker-{i + 1}" != leader]
    got, seen_all = [], threading.Event()

    def listen():
        answer = clients[0].subscribe_to_shard(ConsumerARN=consumer, ShardId=S0, StartingPosition={"Type": "TRIM_HORIZON"})
        with_events = answer["EventStream"]
        for event in with_events:
            got.extend(int(r["Data"]) for r in event["SubscribeToShardEvent"]["Records"])
            if len(got) >= 200:
                break
        with_events.close()
        seen_all.set()
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        for i in range(200):
            if i == 100:
                api.cluster.local("kill", leader)
            clients[1].put_record(StreamName="pushed", Data=b"%d" % i, PartitionKey="k")
        expect(seen_all.wait(30), f"{len(got)} of 200 records were pushed")
        expect(sorted(set(got)) == list(range(200)) and got == sorted(got), "records were lost or out of order")
    finally:
        api.cluster.local("start", leader)
        api.cluster.wait_in_sync("pushed")


class Again:
    """A client whose calls all say that they are attempts of one call."""

    def __init__(self, api, number, invocation, attempt=2):
        self.client = api.client(api.endpoints[number])

        def mark(request, **_):
            request.headers["amz-sdk-invocation-id"] = invocation
            request.headers["amz-sdk-request"] = f"attempt={attempt}; max=5"
        self.client.meta.events.register("before-send.kinesis", mark)

    def put(self, name, data=b"x", key="k"):
        answer = self.client.put_record(StreamName=name, Data=data, PartitionKey=key)
        return answer["ShardId"], answer["SequenceNumber"]


def retries_are_not_duplicates(api):
    """The same call at other brokers, after its shard's leader died, and after the shard was split, is stored once."""
    api.create("again")
    first = Again(api, 0, "11111111-0000-4000-8000-000000000001", 1).put("again")
    for number in (1, 2, 0):
        got = Again(api, number, "11111111-0000-4000-8000-000000000001").put("again")
        expect(got == first, f"a retry got {got} instead of {first}")
    expect(Again(api, 0, "11111111-0000-4000-8000-000000000001").put("again", b"y") != first, "another body is another call")
    expect(Again(api, 0, "11111111-0000-4000-8000-000000000002").put("again") != first, "another id is another call")
    many = [{"Data": b"m%d" % i, "PartitionKey": f"k{i}"} for i in range(100)]
    batch = [Again(api, n, "22222222-0000-4000-8000-000000000001").client.put_records(StreamName="again", Records=many)["Records"]
             for n in (0, 1)]
    expect(batch[0] == batch[1], "a retry of PutRecords got other sequence numbers")
    leader = leader_of(api, "again")
    alive = [i for i in range(3) if f"broker-{i + 1}" != leader]
    api.cluster.local("kill", leader)
    try:
        for number in alive:
            expect(Again(api, number, "11111111-0000-4000-8000-000000000001").put("again") == first, "stored again by the new leader")
    finally:
        api.cluster.local("start", leader)
        api.cluster.wait_in_sync("again")
    api.any().split_shard(StreamName="again", ShardToSplit=S0, NewStartingHashKey=str(1 << 127))
    api.wait_active("again")
    for number in range(3):
        expect(Again(api, number, "11111111-0000-4000-8000-000000000001").put("again") == first, "stored again in a child")
    retried = Again(api, 1, "22222222-0000-4000-8000-000000000001").client.put_records(StreamName="again", Records=many)["Records"]
    expect(retried == batch[0], "a retry of PutRecords over a split got other sequence numbers")
    fresh = Again(api, 2, "33333333-0000-4000-8000-000000000001").put("again")
    expect(fresh[0] != S0, "a new call did not go to a child")
    count = sum(len(records) for records in api.read_family("again").values())
    expect(count == 104, f"{count} records instead of 104")


def iterators_survive_a_restart(api):
    api.create("held")
    api.any().put_record(StreamName="held", Data=b"a", PartitionKey="k")
    iterator = api.iterator("held")
    for broker in ("broker-1", "broker-2", "broker-3"):
        api.cluster.local("term", broker)
        api.cluster.local("start", broker)
        api.cluster.wait_in_sync("held")
    api.wait_serving()
    for client in api.clients:
        page = client.get_records(ShardIterator=iterator)
        expect([r["Data"] for r in page["Records"]] == [b"a"], f"{page['Records']} after every broker was restarted")


# ---- strangers ----

def reads_go_on_without_a_leader(api):
    """Nobody can elect one: followers give what they know as committed."""
    cluster = api.cluster
    api.create("orphan", 1)
    for i in range(50):
        api.any().put_record(StreamName="orphan", Data=b"%d" % i, PartitionKey="k")
    iterator = api.iterator("orphan")
    time.sleep(0.5)  # for the followers to hear of the last commit
    leader = leader_of(api, "orphan")
    left = [c for c, name in zip(api.clients, ("broker-1", "broker-2", "broker-3")) if name != leader]
    controllers = [name for name in cluster.names() if name.startswith("controller")]
    for name in controllers:
        cluster.local("stop", name)
    try:
        cluster.local("kill", leader)
        for client in left:
            begin, got, at = time.monotonic(), [], iterator
            while len(got) < 50 and time.monotonic() - begin < 20:
                page = client.get_records(ShardIterator=at)
                got, at = got + page["Records"], page["NextShardIterator"]
            expect([int(r["Data"]) for r in got] == list(range(50)), f"{len(got)} of 50 records without a leader")
    finally:
        for name in controllers:
            cluster.local("cont", name)
        cluster.local("start", leader)
    api.wait_serving()
    api.any().put_record(StreamName="orphan", Data=b"50", PartitionKey="k")
    expect(len(api.read(iterator)[0]) == 51, "what was written before and after")


def changed_tokens_are_refused(api):
    api.create("sealed")
    raw = bytearray(base64.b64decode(api.iterator("sealed")))
    for at in range(len(raw)):
        bad = bytes(b ^ 1 if i == at else b for i, b in enumerate(raw))
        if at % 7 == 0:
            fails("InvalidArgumentException", api.any().get_records, ShardIterator=base64.b64encode(bad).decode())
    fails("InvalidArgumentException", api.any().list_streams, NextToken="AAAA")


def told(function, api):
    """What a client raises is what a test found."""
    from botocore.exceptions import BotoCoreError, ClientError
    try:
        return function(api)
    except (BotoCoreError, ClientError) as problem:
        raise Failed(str(problem)) from problem


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    missing = with_boto3()
    if missing:
        print(f"skipped: {missing}")
        return 0
    tests = [("any broker answers", any_broker_answers), ("records of 10 MiB", large_records),
             ("throttled writers lose nothing", throttled_writers_lose_nothing), ("retention and tags", retention_and_tags),
             ("split and merge under load", split_and_merge_under_load), ("writes survive a leader", writes_survive_a_leader),
             ("a subscription survives a leader", subscription_survives_a_leader),
             ("retries are not duplicates", retries_are_not_duplicates),
             ("iterators survive a restart", iterators_survive_a_restart),
             ("reads go on without a leader", reads_go_on_without_a_leader),
             ("changed tokens are refused", changed_tokens_are_refused)]
    with Cluster(arguments.bin) as cluster:
        api = Api(cluster)
        failed = run_all([(name, lambda function=function: told(function, api)) for name, function in tests if arguments.only in name])
        cluster.no_reports()
        if failed:
            cluster.show_logs()
    return failed


if __name__ == "__main__":
    sys.exit(main())
