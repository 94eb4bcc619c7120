#!/usr/bin/env python3
"""What client libraries lean on, over three brokers: the rules by which the Kinesis Client Library checks sequence numbers and
answers, two applications that follow splits and merges under load (one polls, one subscribes), subscriptions whose broker is
restarted, weirctl's changes as the Kinesis API tells them, and the lines of README.md as they stand there.

boto3 as in kinesis_api.py; without it the tests are skipped.

usage: kinesis_clients.py --bin DIR [--only NAME]"""
import argparse
import os
import re
import shutil
import sys
import threading
import time

from cluster import TREE, Cluster, expect, run_all
from kinesis_api import S0, Api, told, with_boto3


def consumer_arn(api, stream, name):
    """Registers a consumer, and waits until every broker has it ACTIVE."""
    arn = api.any().describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    arn = api.any().register_stream_consumer(StreamARN=arn, ConsumerName=name)["Consumer"]["ConsumerARN"]
    end = time.monotonic() + 10
    while any(c.describe_stream_consumer(ConsumerARN=arn)["ConsumerDescription"]["ConsumerStatus"] != "ACTIVE" for c in api.clients):
        expect(time.monotonic() < end, "the consumer did not become ACTIVE")
        time.sleep(0.05)
    return arn


# ---- the rules of the Kinesis Client Library ----

def check_number(text, shard):
    """As the library's SequenceNumberValidator: 186 bits, version 2, and the shard's number inside."""
    number = int(text)
    expect(text == str(number) and number.bit_length() == 186, f"{text} has {number.bit_length()} bits")
    expect(number >> 184 == 2, f"{text} is not of version 2")
    expect(f"shardId-{number >> 4 & 0xffffffff:012d}" == shard, f"{text} is not of {shard}")
    return number


def check_page(page, shard):
    """Its isValidResult: the end has children and no iterator, everything else an iterator and no children."""
    children = page.get("ChildShards", [])
    expect(bool(children) == (page.get("NextShardIterator") is None), f"{shard}: {len(children)} children, and yet an iterator, or neither")
    for child in children:
        expect(child["ShardId"] and shard in child["ParentShards"] and child["HashKeyRange"], f"{shard}: child {child}")


def rules_of_the_client_library(api):
    api.create("rules", 2)
    for i in range(40):
        api.any().put_record(StreamName="rules", Data=b"%d" % i, PartitionKey=f"k{i}")
    api.any().split_shard(StreamName="rules", ShardToSplit=S0, NewStartingHashKey=str(1 << 126))
    api.wait_active("rules")
    api.any().merge_shards(StreamName="rules", ShardToMerge="shardId-000000000003", AdjacentShardToMerge="shardId-000000000001")
    api.wait_active("rules")
    for i in range(40):
        api.any().put_record(StreamName="rules", Data=b"%d" % i, PartitionKey=f"k{i}")
    shards = {s["ShardId"]: s for s in api.any().list_shards(StreamName="rules")["Shards"]}
    checked = 0
    for name, shard in shards.items():
        span = shard["SequenceNumberRange"]
        at = check_number(span["StartingSequenceNumber"], name)
        iterator = api.iterator("rules", name)
        while iterator:
            page = api.any().get_records(ShardIterator=iterator, Limit=7)
            check_page(page, name)
            for record in page["Records"]:
                number = check_number(record["SequenceNumber"], name)
                expect(number >= at, f"{name}: numbers go back")
                at, checked = number + 1, checked + 1
            iterator = None if page["MillisBehindLatest"] == 0 and not page["Records"] else page.get("NextShardIterator")
        for parent in ("ParentShardId", "AdjacentParentShardId"):
            if parent in shard:
                end = shards[shard[parent]]["SequenceNumberRange"]["EndingSequenceNumber"]
                expect(int(span["StartingSequenceNumber"]) > int(end), f"{name} begins before {shard[parent]} ends")
        if "EndingSequenceNumber" in span:
            expect(check_number(span["EndingSequenceNumber"], name) >= at - 1, f"{name} ends before its last record")
            for kind, more in (("LATEST", {}), ("AFTER_SEQUENCE_NUMBER", {"StartingSequenceNumber": span["EndingSequenceNumber"]})):
                page = api.any().get_records(ShardIterator=api.iterator("rules", name, kind, **more))
                expect(not page["Records"] and page.get("ChildShards"), f"{name}, closed, from {kind}: {page}")
                check_page(page, name)
    expect(checked == 80, f"{checked} of 80 records")
    latest = api.any().list_shards(StreamName="rules", ShardFilter={"Type": "AT_LATEST"})["Shards"]
    spans = sorted((int(s["HashKeyRange"]["StartingHashKey"]), int(s["HashKeyRange"]["EndingHashKey"])) for s in latest)
    expect(spans[0][0] == 0 and spans[-1][1] == 2 ** 128 - 1 and all(a[1] + 1 == b[0] for a, b in zip(spans, spans[1:])),
           f"AT_LATEST leaves holes: {spans}")
    return f"{len(shards)} shards"


# ---- applications that follow the lineage ----

class Application:
    """A thread for each shard, begun when all of its parents have ended. What goes wrong is in `problems`."""

    def __init__(self, api, stream, arn=None):
        self.api, self.stream, self.arn = api, stream, arn
        self.lock, self.threads, self.problems = threading.Lock(), [], []
        self.began, self.ended, self.records = set(), set(), []
        self.over = threading.Event()

    def begin(self, shard):
        with self.lock:
            if shard in self.began:
                return
            self.began.add(shard)
            thread = threading.Thread(target=self.follow, args=(shard,), daemon=True)
            self.threads.append(thread)
        thread.start()

    def follow(self, shard):
        try:
            children = self.push(shard) if self.arn else self.poll(shard)
        except Exception as problem:  # whatever it is, the test is told
            self.problems.append(f"{shard}: {problem!r}")
            return
        with self.lock:
            self.ended.add(shard)
            ready = [c["ShardId"] for c in children or () if set(c["ParentShards"]) <= self.ended]
        for child in ready:
            self.begin(child)

    def add(self, shard, records):
        with self.lock:
            self.records += [(shard, r["PartitionKey"], int(r["Data"]), r["SequenceNumber"]) for r in records]

    def poll(self, shard):
        client = self.api.any()
        iterator = self.api.iterator(self.stream, shard)
        while True:
            page = client.get_records(ShardIterator=iterator)
            check_page(page, shard)
            self.add(shard, page["Records"])
            if page.get("ChildShards"):
                return page["ChildShards"]
            if self.over.is_set() and page["MillisBehindLatest"] == 0 and not page["Records"]:
                return None
            iterator = page["NextShardIterator"]
            time.sleep(0.25)

    def push(self, shard):
        start = {"Type": "TRIM_HORIZON"}
        while True:
            answer = self.api.any().subscribe_to_shard(ConsumerARN=self.arn, ShardId=shard, StartingPosition=start)
            with_events = answer["EventStream"]
            try:
                for event in with_events:
                    event = event["SubscribeToShardEvent"]
                    self.add(shard, event["Records"])
                    if event.get("ChildShards"):
                        expect("ContinuationSequenceNumber" not in event, "an end that goes on")
                        return event["ChildShards"]
                    start = {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": event["ContinuationSequenceNumber"]}
                    if self.over.is_set() and event["MillisBehindLatest"] == 0 and not event["Records"]:
                        return None
            finally:
                with_events.close()
            time.sleep(1.1)  # a shard may be subscribed to once a second

    def finish(self, seconds=25):
        self.over.set()
        end = time.monotonic() + seconds
        for thread in self.threads:
            thread.join(max(0.1, end - time.monotonic()))
        expect(not self.problems, f"{self.problems[:2]}")
        expect(not any(t.is_alive() for t in self.threads), "it does not come to the end")


def check_application(app, acked, name):
    newest = {}
    for _, key, number, _ in app.records:
        expect(number > newest.get(key, -1), f"{name}: {key}: {number} came after {newest.get(key)}")
        newest[key] = number
    got = {(shard, key, number, sequence) for shard, key, number, sequence in app.records}
    expect(len(got) == len(app.records), f"{name}: {len(app.records) - len(got)} records were repeated")
    expect(got == set(acked), f"{name}: {len(acked)} acknowledged, {len(got)} read, {len(got ^ set(acked))} differ")


def two_applications_follow_a_reshard(api):
    api.create("lineage", 2)
    apps = [Application(api, "lineage"), Application(api, "lineage", consumer_arn(api, "lineage", "pushed"))]
    for app in apps:
        for shard in (S0, "shardId-000000000001"):
            app.begin(shard)
    stop, acked, problems = threading.Event(), [], []

    def write(number, client):
        i = 0
        while not stop.is_set():
            key = f"w{number}-{i % 20}"
            try:
                put = client.put_record(StreamName="lineage", Data=b"%d" % i, PartitionKey=key)
                acked.append((put["ShardId"], key, i, put["SequenceNumber"]))
            except Exception as problem:  # none may come
                problems.append(problem)
            i += 1
            time.sleep(0.01)
    writers = [threading.Thread(target=write, args=pair) for pair in enumerate(api.clients)]
    for writer in writers:
        writer.start()
    try:
        time.sleep(0.5)
        api.any().split_shard(StreamName="lineage", ShardToSplit=S0, NewStartingHashKey=str(1 << 126))
        api.wait_active("lineage")
        time.sleep(1)
        api.any().merge_shards(StreamName="lineage", ShardToMerge="shardId-000000000003", AdjacentShardToMerge="shardId-000000000001")
        api.wait_active("lineage")
        time.sleep(1)
        api.any().update_shard_count(StreamName="lineage", TargetShardCount=3, ScalingType="UNIFORM_SCALING")
        api.wait_active("lineage")
        time.sleep(1)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    expect(not problems, f"{len(problems)} puts failed: {problems[:2]}")
    shards = len(api.any().list_shards(StreamName="lineage")["Shards"])
    end = time.monotonic() + 20
    while any(len(app.began) < shards and not app.problems for app in apps) and time.monotonic() < end:
        time.sleep(0.1)
    for name, app in zip(("polling", "push"), apps):
        app.finish()
        check_application(app, acked, name)
    return f"{len(acked)} records, {shards} shards"


def a_subscription_outlives_its_broker(api):
    """The broker that serves it is restarted: the client subscribes again elsewhere, where it had stopped."""
    api.create("restarted")
    arn = consumer_arn(api, "restarted", "app")
    got, stop, broken = [], threading.Event(), [0]
    serving = [0]

    def listen():
        start, number = {"Type": "TRIM_HORIZON"}, 0
        while not stop.is_set():
            serving[0] = number % 3
            try:
                events = api.clients[serving[0]].subscribe_to_shard(ConsumerARN=arn, ShardId=S0, StartingPosition=start)["EventStream"]
                for event in events:
                    event = event["SubscribeToShardEvent"]
                    got.extend(int(r["Data"]) for r in event["Records"])
                    start = {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": event["ContinuationSequenceNumber"]}
                    if stop.is_set():
                        break
                events.close()
            except Exception:  # its broker goes away: a dozen kinds of errors say that
                broken[0] += 1
            number += 1
            time.sleep(0.3)

    def wait_for(count):
        end = time.monotonic() + 20
        while len(got) < count:
            expect(time.monotonic() < end, f"{len(got)} of {count} records were pushed, {broken[0]} subscriptions broke")
            time.sleep(0.05)
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        for turn in range(2):
            for i in range(50):
                api.any().put_record(StreamName="restarted", Data=b"%d" % (turn * 50 + i), PartitionKey="k")
            wait_for(turn * 50 + 50)
            name = f"broker-{serving[0] + 1}"
            api.cluster.local("term", name)
            api.cluster.local("start", name)
            api.cluster.wait_in_sync("restarted")
            api.wait_serving()
        for i in range(100, 150):
            api.any().put_record(StreamName="restarted", Data=b"%d" % i, PartitionKey="k")
        wait_for(150)
    finally:
        stop.set()
        api.any().put_record(StreamName="restarted", Data=b"150", PartitionKey="k")
        listener.join(15)
    expect(got[:150] == list(range(150)), "records were lost, repeated, or out of order")
    return f"{broken[0]} subscriptions broke"


# ---- weirctl ----

def weirctl_and_the_api_agree(api):
    """Every change that weirctl knows of a stream, and what the Kinesis API tells of it afterwards, at each broker."""
    ctl = lambda *words: api.cluster.run("weirctl", *words)  # noqa: E731
    ctl("stream", "create", "ruled", "--shards", "2")
    api.wait_active("ruled")
    arn = api.any().describe_stream_summary(StreamName="ruled")["StreamDescriptionSummary"]["StreamARN"]

    def summary(client):
        return client.describe_stream_summary(StreamName="ruled")["StreamDescriptionSummary"]

    def settled(what, wanted, of):
        end, got = time.monotonic() + 10, None
        while time.monotonic() < end:
            got = [of(client) for client in api.clients]
            if all(one == wanted for one in got):
                return
            time.sleep(0.1)
        expect(False, f"{what}: {got} instead of {wanted}")
    ctl("shard", "split", "ruled", "0", "--at", str(1 << 126))
    settled("split", 3, lambda c: summary(c)["OpenShardCount"])
    ctl("shard", "merge", "ruled", "2", "3")
    settled("merge", 2, lambda c: summary(c)["OpenShardCount"])
    ctl("stream", "reshard", "ruled", "4")
    settled("scaling", 4, lambda c: summary(c)["OpenShardCount"])
    ctl("stream", "retention", "ruled", "48")
    settled("retention", 48, lambda c: summary(c)["RetentionPeriodHours"])
    ctl("stream", "tag", "ruled", "team=red=blue")
    settled("tag", [{"Key": "team", "Value": "red=blue"}], lambda c: c.list_tags_for_stream(StreamName="ruled")["Tags"])
    ctl("stream", "untag", "ruled", "team")
    settled("untag", [], lambda c: c.list_tags_for_stream(StreamName="ruled")["Tags"])
    ctl("stream", "encrypt", "ruled")
    settled("encrypt", ("KMS", "alias/aws/kinesis"), lambda c: (summary(c)["EncryptionType"], summary(c).get("KeyId")))
    ctl("stream", "decrypt", "ruled")
    settled("decrypt", "NONE", lambda c: summary(c)["EncryptionType"])
    ctl("consumer", "register", "ruled", "billing")
    settled("register", [("billing", "ACTIVE")],
            lambda c: [(r["ConsumerName"], r["ConsumerStatus"]) for r in c.list_stream_consumers(StreamARN=arn)["Consumers"]])
    ctl("consumer", "deregister", "ruled", "billing")
    settled("deregister", [], lambda c: c.list_stream_consumers(StreamARN=arn)["Consumers"])
    ctl("stream", "mode", "ruled", "on-demand")
    settled("on-demand", "ON_DEMAND", lambda c: summary(c)["StreamModeDetails"]["StreamMode"])
    ctl("stream", "mode", "ruled", "provisioned")
    settled("provisioned", "PROVISIONED", lambda c: summary(c)["StreamModeDetails"]["StreamMode"])
    ctl("stream", "record-size", "ruled", "2048")
    settled("record size", 2048, lambda c: summary(c).get("MaxRecordSizeInKiB"))
    ctl("stream", "monitor", "ruled", "IncomingBytes,OutgoingBytes")
    settled("monitor", ["IncomingBytes", "OutgoingBytes"], lambda c: sorted(summary(c)["EnhancedMonitoring"][0]["ShardLevelMetrics"]))
    ctl("stream", "unmonitor", "ruled", "ALL")
    settled("unmonitor", [], lambda c: summary(c)["EnhancedMonitoring"][0]["ShardLevelMetrics"])
    for words, code in ((("stream", "retention", "ruled", "9000"), 1), (("stream", "tag", "ruled", "novalue"), 1), (("stream", "mode", "ruled", "fast"), 1),
                        (("consumer", "deregister", "ruled", "nobody"), 3), (("shard", "split", "ruled", "99"), 3), (("stream", "reshard", "none", "2"), 3)):
        result = api.cluster.run("weirctl", *words, check=False)
        expect(result.returncode in (code, 2) and result.stderr.startswith("weirctl: "), f"{words}: {result.returncode} {result.stderr}")
    ctl("stream", "delete", "ruled")
    expect("ruled" not in api.any().list_streams()["StreamNames"], "deleted, and still listed")


# ---- README.md ----

def readme_lines_work(api):
    """"Use it from the AWS SDK", each block as it stands there, with nothing but what weir-local env exports."""
    cluster = api.cluster
    with open(os.path.join(TREE, "README.md"), encoding="utf-8") as file:
        section = file.read().split("## Use it from the AWS SDK")[1].split("\n## ")[0]
    blocks = [re.sub(r"^    ", "", block, flags=re.M) for block in re.findall(r"\n\n((?:    .*\n)+)", section)]
    cli, python, javascript = blocks[0], *[b for b in blocks if "import" in b]
    done = []
    if shutil.which("aws"):
        said = cluster.run("bash", "-euc", cli).stdout
        expect("aGVsbG8=" in said or "YUdWc2JHOD0=" in said, f"the CLI reads: {said}")  # version 1 takes it as it is
        done.append("CLI")
    else:
        api.create("orders", 2)
    api.wait_active("orders")
    shown = cluster.run(sys.executable, "-c", python).stdout
    found = "hello from Python" in shown
    records, _ = api.read(api.iterator("orders", S0))
    expect(found == (b"hello from Python" in [r["Data"] for r in records]) and shown.startswith("["), f"Python prints: {shown}")
    done.append("Python")
    for folder in (os.environ.get("KDS_JS_DIR", ""), os.path.join(TREE, "build", "conformance-js")):
        if shutil.which("node") and os.path.isdir(os.path.join(folder, "node_modules", "@aws-sdk", "client-kinesis")):
            program = os.path.join(folder, f"readme-{os.getpid()}.mjs")
            with open(program, "w", encoding="utf-8") as file:
                file.write(javascript)
            try:
                env = dict(cluster.env, NODE_EXTRA_CA_CERTS=cluster.env["AWS_CA_BUNDLE"])
                said = cluster.run("node", program, env=env).stdout
            finally:
                os.unlink(program)
            expect(re.match(r"shardId-\d{12} \d{56}$", said.strip()), f"JavaScript prints: {said}")
            done.append("JavaScript")
            break
    for name in ("WEIR_KINESIS_ENDPOINT", "WEIR_KINESIS_ENDPOINTS", "AWS_ENDPOINT_URL_KINESIS", "AWS_CA_BUNDLE", "AWS_REGION",
                 "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        expect(cluster.env.get(name), f"weir-local env does not export {name}")
    return ", ".join(done)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    missing = with_boto3()
    if missing:
        print(f"skipped: {missing}")
        return 0
    tests = (rules_of_the_client_library, two_applications_follow_a_reshard, a_subscription_outlives_its_broker,
             weirctl_and_the_api_agree, readme_lines_work)
    with Cluster(arguments.bin) as cluster:
        api = Api(cluster)
        failed = run_all([(t.__name__.replace("_", " "), lambda t=t: told(t, api)) for t in tests if arguments.only in t.__name__])
        cluster.no_reports()
    return failed


if __name__ == "__main__":
    sys.exit(main())
