"""Clients that go on while a cluster is restarted or upgraded, and that tell how it was for them.

Native ones are the program `weir`. Those of the Kinesis API are boto3, over HTTPS, in processes of their own: each has one
endpoint, that of one broker, and the retries of the SDK as they are configured by default."""
import atexit
import collections
import multiprocessing
import os
import socket
import subprocess
import threading
import time

from cluster import expect

KEYS = 8  # of each native client: order is looked at within each


def longest(gap):
    return max(gap) if gap else 0.0


class Native:
    """`weir put` of numbered lines, one after another, and `weir get --follow` beside it."""

    def __init__(self, cluster, stream, name, bin_dir=None, rate=100):
        self.cluster, self.stream, self.name, self.rate = cluster, stream, name, rate
        self.program = os.path.join(bin_dir or cluster.bin, "weir")
        self.log = os.path.join(cluster.dir, f"{name}.acks")
        self.got = os.path.join(cluster.dir, f"{name}.got")
        self.sent = self.acked = 0
        self.gap = self.read_gap = 0.0
        self.stopping = self.over = False
        with open(self.log, "w", encoding="utf-8"):
            pass
        self.output = open(self.got, "w", encoding="utf-8")
        self.reader = subprocess.Popen([self.program, "get", stream, "--follow"], env=cluster.env, stdout=self.output,
                                       stderr=subprocess.PIPE, text=True)
        self.writer = subprocess.Popen([self.program, "put", stream, "--key-field", "1", "--ack-log", self.log, "--give-up", "60s"],
                                       env=cluster.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE)
        atexit.register(self.end)  # a test that fails does not stop them
        self.threads = [threading.Thread(target=f, daemon=True) for f in (self.feed, self.watch_acks, self.watch_reader)]
        for thread in self.threads:
            thread.start()

    def feed(self):
        try:
            while not self.stopping:
                self.writer.stdin.write(f"{self.name}-{self.sent % KEYS} {self.sent}\n")
                self.writer.stdin.flush()
                self.sent += 1
                time.sleep(1 / self.rate)
            self.writer.stdin.close()
        except (BrokenPipeError, ValueError):
            pass  # its exit code tells

    def watch(self, path):
        """Yields the number of lines of a file that grows, and for how long it had not."""
        lines, last = 0, None
        with open(path, "rb") as file:
            while not self.over:
                data = file.read(1 << 20)
                now = time.monotonic()
                if data:
                    lines += data.count(b"\n")
                    yield lines, 0.0 if last is None else now - last
                    last = now
                else:
                    time.sleep(0.004)

    def watch_acks(self):
        for lines, gap in self.watch(self.log):
            self.acked = lines
            self.gap = max(self.gap, gap)

    def watch_reader(self):
        for _, gap in self.watch(self.got):
            self.read_gap = max(self.read_gap, gap)

    def stop(self):
        """All that was put is acknowledged, and read once, in the order of each key: by the reader that was there all the time,
        and by one that comes now."""
        self.stopping = True
        code = self.writer.wait(90)
        expect(code == 0, f"{self.name}: weir put exited {code}: {self.writer.stderr.read()[-500:]}")
        end = time.monotonic() + 20
        while self.acked < self.sent and time.monotonic() < end:
            time.sleep(0.02)
        expect(self.acked == self.sent, f"{self.name}: {self.acked} acknowledgements for {self.sent} lines")
        while self.count_read() < self.sent and time.monotonic() < end:
            time.sleep(0.05)
        expect(self.reader.poll() is None, f"{self.name}: weir get --follow ended: {self.reader.poll()}")
        self.end()
        with open(self.got, encoding="utf-8") as file:
            self.check(file.read().splitlines(), "the reader that was there")
        self.check(self.cluster.run(self.program, "get", self.stream, "--from", "trim-horizon").stdout.splitlines(), "a new reader")

    def count_read(self):
        with open(self.got, "rb") as file:
            return file.read().count(b"\n")

    def check(self, lines, who):
        last = collections.Counter()
        got = collections.Counter()
        for line in lines:
            key, number = line.split()
            number = int(number)
            expect(number >= last[key], f"{self.name}: {who} got {number} of {key} after {last[key]}")
            last[key] = number
            got[number] += 1
        lost = [n for n in range(self.sent) if got[n] == 0]
        doubled = [n for n, times in got.items() if times > 1]
        expect(not lost and not doubled, f"{self.name}: of {self.sent} lines, {who} lacks {lost[:5]} and has {doubled[:5]} twice")

    def end(self):
        self.over = True
        for process in (self.writer, self.reader):
            if process.poll() is None:
                process.kill()
                process.wait(10)
        if not self.output.closed:
            self.output.close()


# ---- clients of the Kinesis API: one process for each endpoint ----

def sdk_client(env, endpoint, mode):
    import boto3
    from botocore.config import Config
    # No limits or times of our own, and the five attempts that boto3 makes when nothing is set: in its mode `standard` these
    # have to be asked for (docs/operations.md), because three may all fall into the second in which a broker restarts.
    return boto3.client("kinesis", endpoint_url=endpoint, region_name=env["AWS_REGION"], verify=env["AWS_CA_BUNDLE"],
                        aws_access_key_id=env["AWS_ACCESS_KEY_ID"], aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
                        config=Config(retries={"mode": mode, "total_max_attempts": 5}))


class Caller:
    """Calls, counted: requests, the SDK's retries, failures; the longest time between two that went well."""

    def __init__(self, env, endpoint, mode, name, stream):
        self.client = sdk_client(env, endpoint, mode)
        self.name, self.stream, self.mode = name, stream, mode
        self.requests = self.retries = self.retried = 0
        self.failures, self.acked = [], {}
        self.gap, self.last = 0.0, None

    def call(self, operation, **arguments):
        self.requests += 1
        try:
            answer = getattr(self.client, operation)(StreamName=self.stream, **arguments) if operation.startswith("put") else \
                getattr(self.client, operation)(**arguments)
        except Exception as problem:  # noqa: BLE001 whatever the SDK gives up with is what the test is about
            self.failures.append(f"{time.strftime('%T')} {self.name}: {operation}: {type(problem).__name__}: {problem}"[:300])
            time.sleep(0.1)
            return None
        again = answer["ResponseMetadata"]["RetryAttempts"]
        self.retries += again
        self.retried += again > 0
        now = time.monotonic()
        self.gap = max(self.gap, 0.0 if self.last is None else now - self.last)
        self.last = now
        return answer

    def report(self):
        return {"name": self.name, "mode": self.mode, "requests": self.requests, "retries": self.retries, "retried": self.retried,
                "failures": self.failures, "gap": self.gap, "acked": self.acked}


def put_records(caller, stop, rate):
    number = 0
    while not stop.is_set():
        datas = [f"{caller.name} {number + i}" for i in range(5)]
        number += 5
        answer = caller.call("put_records", Records=[{"Data": d.encode(), "PartitionKey": d} for d in datas])
        for data, result in zip(datas, answer["Records"] if answer else []):
            if "ErrorCode" in result:
                caller.failures.append(f"{caller.name}: {data}: {result}")
            else:
                caller.acked[data] = (result["ShardId"], result["SequenceNumber"])
        time.sleep(1 / rate)


def put_record(caller, stop, rate):
    number, last = 0, {}
    while not stop.is_set():
        data = f"{caller.name} {number}"
        number += 1
        answer = caller.call("put_record", Data=data.encode(), PartitionKey=caller.name)
        if answer:
            caller.acked[data] = (answer["ShardId"], answer["SequenceNumber"])
            if int(answer["SequenceNumber"]) <= last.get(answer["ShardId"], 0):
                caller.failures.append(f"{caller.name}: sequence numbers go back at {data}")
            last[answer["ShardId"]] = int(answer["SequenceNumber"])
        time.sleep(1 / rate)


def get_records(caller, stop, shard):
    """Reads one shard from its beginning until the tip, and goes on until it is told to stop and has come to the tip."""
    got, iterator, at_tip = [], None, False
    while not (stop.is_set() and at_tip):
        if iterator is None:
            answer = caller.call("get_shard_iterator", StreamName=caller.stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
            iterator = answer and answer["ShardIterator"]
            continue
        stopping = stop.is_set()
        answer = caller.call("get_records", ShardIterator=iterator)
        if answer:
            got += [(shard, r["SequenceNumber"], r["Data"].decode()) for r in answer["Records"]]
            iterator = answer["NextShardIterator"]
            at_tip = stopping and answer["MillisBehindLatest"] == 0 and not answer["Records"]
        time.sleep(0.25)
    caller.acked = got


def sdk_process(env, endpoint, number, stream, shards, rate, modes, stop_writing, stop_reading, out):
    """Two writers and two readers that know one broker."""
    jobs = []
    for mode in modes:
        name = f"sdk-{number}-{mode}"
        jobs += [(put_records, Caller(env, endpoint, mode, name + "-PutRecords", stream), stop_writing, rate),
                 (put_record, Caller(env, endpoint, mode, name + "-PutRecord", stream), stop_writing, rate)]
    for i, shard in enumerate(shards):
        mode = modes[i % len(modes)]
        jobs.append((get_records, Caller(env, endpoint, mode, f"sdk-{number}-{mode}-GetRecords-{i}", stream), stop_reading, shard))
    threads = [threading.Thread(target=f, args=(caller, stop, what)) for f, caller, stop, what in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out.put([caller.report() for _, caller, _, _ in jobs])


class Sdk:
    def __init__(self, cluster, stream, rate=10, modes=("legacy",)):
        self.cluster, self.stream = cluster, stream
        self.endpoints = cluster.env["WEIR_KINESIS_ENDPOINTS"].split(",")
        shards = [f"shardId-{s['number']:012d}" if "number" in s else s["id"] for s in cluster.shards(stream)]
        context = multiprocessing.get_context("spawn")
        self.stop_writing, self.stop_reading, self.out = context.Event(), context.Event(), context.Queue()
        count = len(self.endpoints)
        self.processes = [context.Process(target=sdk_process, daemon=True, args=(
            cluster.env, endpoint, i + 1, stream, shards[i::count], rate, modes, self.stop_writing, self.stop_reading, self.out))
            for i, endpoint in enumerate(self.endpoints)]
        for process in self.processes:
            process.start()
        self.windows = Windows(self.endpoints)

    @staticmethod
    def wait_serving(cluster):
        """Until every broker knows the access key."""
        for endpoint in cluster.env["WEIR_KINESIS_ENDPOINTS"].split(","):
            sdk_client(cluster.env, endpoint, "standard").list_streams()

    def stop(self):
        """Every call went well, every record is there once and where its writer was told, every reader got all of its shard."""
        self.stop_writing.set()
        time.sleep(0.5)
        self.stop_reading.set()
        self.windows.stop()
        reports = [report for _ in self.processes for report in self.out.get(timeout=90)]
        for process in self.processes:
            process.join(30)
        failures = [f for r in reports for f in r["failures"]]
        expect(not failures, f"{len(failures)} of {sum(r['requests'] for r in reports)} requests of SDKs failed, for instance: "
                             + "; ".join(failures[:6]))
        self.acked = {}
        for r in reports:
            self.acked.update(r["acked"] if isinstance(r["acked"], dict) else {})
        there = self.read_all()
        self.compare({(s, n, d) for s, n, d in there}, len(there), "a new reader")
        seen = [tuple(entry) for r in reports if isinstance(r["acked"], list) for entry in r["acked"]]
        self.compare(set(seen), len(seen), "the readers that were there")
        self.reports = reports
        return reports

    def compare(self, there, count, who):
        expected = {(shard, number, data) for data, (shard, number) in self.acked.items()}
        doubled = count - len({data for _, _, data in there})
        expect(not expected - there, f"{who} lack {len(expected - there)} of {len(expected)} records: {sorted(expected - there)[:3]}")
        expect(doubled == 0 and not there - expected, f"{who} got {doubled} records twice, and {sorted(there - expected)[:3]} that nobody was told of")

    def read_all(self):
        client = sdk_client(self.cluster.env, self.endpoints[0], "standard")
        got = []
        for shard in client.list_shards(StreamName=self.stream)["Shards"]:
            iterator = client.get_shard_iterator(StreamName=self.stream, ShardId=shard["ShardId"],
                                                 ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
            while True:
                page = client.get_records(ShardIterator=iterator)
                got += [(shard["ShardId"], r["SequenceNumber"], r["Data"].decode()) for r in page["Records"]]
                iterator = page["NextShardIterator"]
                if not page["Records"] and page["MillisBehindLatest"] == 0:
                    break
        return got

    def figures(self):
        writers = [r["gap"] for r in self.reports if isinstance(r["acked"], dict)]
        readers = [r["gap"] for r in self.reports if isinstance(r["acked"], list)]
        total = {key: sum(r[key] for r in self.reports) for key in ("requests", "retries", "retried")}
        return (f"SDK clients: {total['requests']} requests, {total['retried']} of them retried ({total['retries']} times), 0 failed, "
                f"{len(self.acked)} records; longest gap between two acknowledgements {longest(writers):.2f} s, between two "
                f"answers to readers {longest(readers):.2f} s; ports refused for {self.windows.longest() * 1000:.0f} ms at most")


class Windows:
    """For how long ports refused connections."""

    def __init__(self, endpoints):
        self.stopping, self.most = False, {}
        self.threads = [threading.Thread(target=self.watch, args=(int(e.rsplit(":", 1)[1]),), daemon=True) for e in endpoints]
        for thread in self.threads:
            thread.start()

    def watch(self, port):
        since = None
        while not self.stopping:
            try:
                socket.create_connection(("127.0.0.1", port), 5).close()
                if since is not None:
                    self.most[port] = max(self.most.get(port, 0.0), time.monotonic() - since)
                since = None
            except OSError:
                since = since or time.monotonic()
            time.sleep(0.02)

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(10)

    def longest(self):
        return longest(self.most.values())
