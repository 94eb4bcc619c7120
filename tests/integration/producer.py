#!/usr/bin/env python3
"""What producers promise, over three brokers: nothing lost, nothing twice, each key in order, whatever is aggregated or
compressed, while a leader is killed and shards are split and merged. And what others make of aggregated records: the
Python package aws-kinesis-agg reads ours through boto3, and our reader reads its.

usage: producer.py --bin DIR [--only NAME]"""
import argparse
import json
import os
import subprocess
import sys
import threading
import time

from cluster import TREE, Cluster, expect, run_all

KEYS = 100
WAYS = {
    "plain": (),
    "zstd": ("--compression", "zstd"),
    "aggregated": ("--aggregate", "--gather", "3ms"),
    "both": ("--aggregate", "--compression", "lz4", "--aggregate-bytes", "8192"),
}


def with_packages():
    """Runs again in a Python that has boto3 and aws-kinesis-agg. Returns why there is none, or None."""
    try:
        import aws_kinesis_agg  # noqa: F401
        import boto3  # noqa: F401
        return None
    except ImportError:
        pass
    if os.environ.get("WEIR_TEST_VENV"):
        return "the virtual environment has no boto3 or aws-kinesis-agg"
    venv = os.path.join(TREE, "build", "venv")
    python = os.path.join(venv, "bin", "python")
    try:
        if not os.path.exists(python):
            subprocess.run([sys.executable, "-m", "venv", venv], check=True, capture_output=True, timeout=120)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "boto3", "aws-kinesis-agg"], check=True,
                       capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as problem:
        return f"boto3 and aws-kinesis-agg are not here and cannot be installed: {problem}"
    os.environ["WEIR_TEST_VENV"] = "1"
    os.execv(python, [python, *sys.argv])


class Feeder(threading.Thread):
    """Writes numbered lines to a weir put until it is told to stop."""

    def __init__(self, cluster, stream, options):
        super().__init__(daemon=True)
        self.put = subprocess.Popen(["weir", "put", stream, "--key-field", "1", *options], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=cluster.env)
        self.lines, self.stop = 0, False

    def run(self):
        while not self.stop:
            block = [f"key-{i % KEYS} {i // KEYS} {'x' * (i % 60)}\n" for i in range(self.lines, self.lines + 500)]
            self.put.stdin.write("".join(block).encode())
            self.lines += 500
            time.sleep(0.05)

    def end(self, name):
        self.stop = True
        self.join(30)
        said = self.put.communicate(timeout=120)[0].decode()
        expect(self.put.returncode == 0, f"{name}: weir put exited {self.put.returncode}: {said[-400:]}")


def check(cluster, stream, lines):
    """Every line once, and the lines of a key in order over parents and children."""
    output = cluster.run("weir", "get", stream, "--deaggregate", "--json", timeout=120).stdout
    next_of_key, count = {}, 0
    for text in output.splitlines():
        key, number, _ = json.loads(text)["data"].split(" ", 2)
        expect(int(number) == next_of_key.get(key, 0),
               f"{stream}: {key} has line {number} where {next_of_key.get(key, 0)} is due")
        next_of_key[key] = int(number) + 1
        count += 1
    expect(count == lines, f"{stream}: {count} of {lines} lines are there")


def all_ways_under_load(cluster):
    for name in WAYS:
        cluster.create(name, 2)
    feeders = {name: Feeder(cluster, name, options) for name, options in WAYS.items()}
    for feeder in feeders.values():
        feeder.start()
    time.sleep(1)
    killed = next(s["leader"] for s in cluster.shards("both") if s["leader"])
    cluster.local("kill", killed)
    for target in ("4", "1"):
        for name in WAYS:
            cluster.run("weirctl", "stream", "reshard", name, target, "--timeout", "60s", timeout=90)
    cluster.local("start", killed)
    time.sleep(1)
    for name, feeder in feeders.items():
        feeder.end(name)
        check(cluster, name, feeder.lines)
    return f"{sum(f.lines for f in feeders.values())} lines in {len(WAYS)} ways"


def kinesis(cluster):
    import boto3
    return boto3.client("kinesis", region_name=cluster.env.get("AWS_REGION", "us-east-1"),
                        endpoint_url=cluster.env["AWS_ENDPOINT_URL_KINESIS"], verify=cluster.env["AWS_CA_BUNDLE"],
                        aws_access_key_id=cluster.env["AWS_ACCESS_KEY_ID"],
                        aws_secret_access_key=cluster.env["AWS_SECRET_ACCESS_KEY"])


def get_records(client, stream):
    records = []
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        at = client.get_shard_iterator(StreamName=stream, ShardId=shard["ShardId"],
                                       ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        while True:
            answer = client.get_records(ShardIterator=at)
            records += answer["Records"]
            at = answer.get("NextShardIterator")
            if at is None or (not answer["Records"] and answer["MillisBehindLatest"] == 0):
                break
    return records


def theirs_reads_ours(cluster):
    from aws_kinesis_agg import deaggregator
    client = kinesis(cluster)
    lines = "".join(f"key-{i % 50} {i}\n" for i in range(5000)).encode()
    for name, options in (("ours-plain", ("--compression", "zstd")), ("ours-both", WAYS["both"])):
        cluster.create(name, 2)
        subprocess.run(["weir", "put", name, "--key-field", "1", *options], input=lines, check=True, env=cluster.env,
                       timeout=60, capture_output=True)
        records = get_records(client, name)
        if name == "ours-both":
            expect(len(records) < 1000, f"{len(records)} records hold 5000 lines")
            wrapped = [{"kinesis": {"data": __import__("base64").b64encode(r["Data"]).decode(),
                                    "partitionKey": r["PartitionKey"], "sequenceNumber": r["SequenceNumber"],
                                    "kinesisSchemaVersion": "1.0",
                                    "approximateArrivalTimestamp": r["ApproximateArrivalTimestamp"].timestamp()},
                        "eventSource": "aws:kinesis"} for r in records]
            data = [__import__("base64").b64decode(r["kinesis"]["data"])
                    for r in deaggregator.deaggregate_records(wrapped)]
        else:
            data = [r["Data"] for r in records]
        numbers = sorted(int(d.split()[1]) for d in data)
        expect(numbers == list(range(5000)), f"{name}: {len(numbers)} lines, {len(set(numbers))} different ones")


def ours_reads_theirs(cluster):
    from aws_kinesis_agg import aggregator
    client = kinesis(cluster)
    cluster.create("theirs", 1)
    made = aggregator.RecordAggregator(20000)
    records = []
    for i in range(3000):
        full = made.add_user_record(f"key-{i % 30}", f"line {i}".encode())
        if full:
            records.append(full)
    records.append(made.clear_and_get())
    for record in records:
        key, hash_key, data = record.get_contents()
        more = {"ExplicitHashKey": hash_key} if hash_key else {}
        client.put_record(StreamName="theirs", PartitionKey=key, Data=data, **more)
    output = cluster.run("weir", "get", "theirs", "--deaggregate").stdout.splitlines()
    expect(output == [f"line {i}" for i in range(3000)], f"{len(output)} lines of 3000, or out of order")
    fake = b"\xf3\x89\x9a\xc2 not an aggregated record"
    client.put_record(StreamName="theirs", PartitionKey="k", Data=fake)
    rows = cluster.run("weir", "get", "theirs", "--deaggregate", "--json").stdout.splitlines()
    expect("data_base64" in json.loads(rows[-1]), "a record that only looks aggregated is not passed on")


def bad_options(cluster):
    for options, word in ((("--compression", "gzip"), "--compression"), (("--aggregate-bytes", "3"), "--aggregate-bytes"),
                          (("--gather", "5m"), "--gather")):
        result = cluster.run("weir", "put", "plain", *options, check=False)
        expect(result.returncode == 2 and word in result.stderr, f"{options}: {result.returncode} {result.stderr}")
    result = cluster.run("weir", "bench", "plain", "--duration", "1s", "--rate", "500", "--consumers", "2", "--json",
                         "--compression", "lz4")
    row = json.loads(result.stdout)
    expect(row["put"]["failed"] == 0 and row["get"]["records"] == 2 * row["put"]["records"] > 0, f"weir bench: {row}")


def log_shipper(cluster):
    """Nothing is lost over rotation and a restart."""
    cluster.create("logs", 1)
    log, checkpoints = os.path.join(cluster.dir, "app.log"), os.path.join(cluster.dir, "checkpoints")

    def run(act):
        ship = subprocess.Popen([os.path.join(cluster.bin, "weir-logship"), "logs", checkpoints, log], env=cluster.env)
        act()
        time.sleep(0.5)
        ship.terminate()
        expect(ship.wait(20) == 0, f"logship exited {ship.returncode}")

    def write(first, last):
        with open(log, "a", encoding="utf-8") as file:
            for i in range(first, last):
                file.write(f"line {i}\n")

    def rotate():
        time.sleep(0.5)
        write(100, 200)
        time.sleep(0.5)
        os.rename(log, log + ".1")
        write(200, 300)
        time.sleep(1.5)

    write(0, 100)
    run(rotate)
    write(300, 400)
    run(lambda: time.sleep(0.5))
    output = cluster.run("weir", "get", "logs").stdout.splitlines()
    expect(output == [f"line {i}" for i in range(400)], f"{len(output)} lines of 400, or out of order")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    skipped = with_packages()
    with Cluster(options.bin) as cluster:
        tests = [(t.__name__, lambda t=t: t(cluster)) for t in (all_ways_under_load, bad_options, log_shipper)]
        if skipped:
            print(f"skipped: theirs_reads_ours, ours_reads_theirs: {skipped}")
        else:
            tests += [(t.__name__, lambda t=t: t(cluster)) for t in (theirs_reads_ours, ours_reads_theirs)]
        return run_all([t for t in tests if options.only in t[0]])


if __name__ == "__main__":
    sys.exit(main())
