#!/usr/bin/env python3
"""Consumers of real processes: workers that are killed and frozen, controllers that change, shards that split and merge.

Every record must be processed, per key in order; what is processed again was not checkpointed; a worker that has lost a
shard checkpoints nothing. Record processors in Python run unchanged under weir consume-exec.

The quiet tests share clusters, each with a stream and an application of its own; what kills controllers has one to itself.

usage: consumer.py --bin DIR [--seconds N] [--only NAME]"""
import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

from cluster import TREE, Cluster, Failed, expect, run_all

KEYS = 200
SHARDS = 32
WORKERS = 6
NONE = 2 ** 64 - 1

# A processor in the style of amazon_kclpy's, without it: the protocol alone.
PROCESSOR = r'''
import base64, json, os, sys
out, crash_at = sys.argv[1], int(sys.argv[2])
shard, seen = None, 0
def say(message):
    sys.stdout.write("\n" + json.dumps(message) + "\n"); sys.stdout.flush()
def checkpoint(number=None):
    say({"action": "checkpoint", "sequenceNumber": number, "subSequenceNumber": None})
    answer = json.loads(sys.stdin.readline())
    assert answer["action"] == "checkpoint" and answer["error"] is None, answer
for line in sys.stdin:
    message = json.loads(line)
    action = message["action"]
    if action == "initialize":
        shard = message["shardId"]
    elif action == "processRecords":
        with open(out, "a") as file:
            for record in message["records"]:
                file.write("%s %s %s %s\n" % (shard, record["sequenceNumber"], record["partitionKey"],
                                              base64.b64decode(record["data"]).decode()))
        seen += len(message["records"])
        if crash_at and seen >= crash_at and not os.path.exists(out + ".crashed-" + shard):
            open(out + ".crashed-" + shard, "w").close()
            os._exit(3)
        checkpoint(message["records"][-1]["sequenceNumber"])
    elif action in ("shardEnded", "shutdownRequested"):
        checkpoint()
    say({"action": "status", "responseFor": action})
'''


class Place:
    """Where a test works: a stream, an application and a directory of its own, in a cluster that it may share with others."""

    def __init__(self, cluster, name):
        self.cluster, self.stream, self.app = cluster, "orders-" + name, "billing-" + name
        self.dir = os.path.join(cluster.dir, "test-" + name)
        os.mkdir(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)


class Clusters:
    """One for all quiet tests in a row with the same settings. After a test that failed the next one gets another."""

    def __init__(self, options):
        self.options, self.running = options, {}

    @contextlib.contextmanager
    def place(self, name, *settings):
        try:
            if settings not in self.running:
                self.close()  # they may have the same ports
                cluster = Cluster(self.options.bin, controller_settings=settings)
                self.running[settings] = cluster.__enter__()
            yield Place(self.running[settings], name)
            self.running[settings].no_reports()
        except BaseException:
            if settings in self.running:
                self.running.pop(settings).__exit__(True)
            raise

    def close(self):
        while self.running:
            self.running.popitem()[1].__exit__()


class Worker:
    def __init__(self, cluster, app, stream, log, *options):
        self.log = log
        self.process = subprocess.Popen(["weir-consume-worker", app, stream, log, *options], env=cluster.env)
        self.stopped_once = False

    def kill(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(timeout=40)
        except subprocess.TimeoutExpired as late:
            self.process.kill()
            raise Failed(f"{self.log}: it did not stop") from late


class Load(threading.Thread):
    """Numbered records of many keys, until told to end; what was acknowledged is counted by key."""

    def __init__(self, cluster, stream, rate):
        super().__init__()
        self.cluster, self.rate = cluster, rate
        self.over = threading.Event()
        self.next = [0] * KEYS
        self.put = subprocess.Popen(["weir", "put", stream, "--key-field", "1", "--quiet"], env=cluster.env,
                                    stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self):
        random_keys = random.Random(1)
        begin, done = time.monotonic(), 0
        while not self.over.is_set():
            due = int((time.monotonic() - begin) * self.rate)
            lines = []
            while done < due:
                key = random_keys.randrange(KEYS)
                lines.append(f"k{key} {self.next[key]}\n")
                self.next[key] += 1
                done += 1
            self.put.stdin.write("".join(lines))
            self.put.stdin.flush()
            time.sleep(0.02)

    def finish(self):
        self.over.set()
        self.join()
        _, said = self.put.communicate(timeout=60)
        expect(self.put.returncode == 0, f"not everything was stored: {said}")
        return sum(self.next)


def read_events(logs):
    """All lines of all workers by time: (ns, worker, kind, shard, offset, rest)."""
    events = []
    for worker, log in enumerate(logs):
        if not os.path.exists(log):
            continue
        with open(log, "rb") as file:
            for line in file.read().split(b"\n"):
                parts = line.decode().split(" ")
                if len(parts) >= 3:
                    offset = int(parts[3]) if len(parts) > 3 and parts[3] else 0
                    events.append((int(parts[0]), worker, parts[1], int(parts[2]), offset, parts[4:]))
    events.sort(key=lambda event: event[0])
    return events


def processed(events):
    return {(event[5][0], int(event[5][2])) for event in events if event[2] == "R"}


def check_order(events, produced):
    """The first time that a record is processed comes after the first time of the one before it of its key."""
    newest, again = {}, 0
    for _, worker, kind, shard, _, rest in events:
        if kind != "R":
            continue
        key, number = rest[0], int(rest[2])
        known = newest.get(key, -1)
        expect(number <= known + 1, f"{key}: {number} was processed by worker {worker} before {known + 1} (shard {shard})")
        again += number <= known
        newest[key] = max(known, number)
    for key, count in enumerate(produced):
        expect(newest.get(f"k{key}", -1) == count - 1, f"k{key}: {newest.get(f'k{key}', -1) + 1} of {count} were processed")
    return again


def check_fences(events, parents):
    """A tenure begins at the newest checkpoint stored before it, or behind; who had the shard before stores none after. An
    answer may be read late, by a worker that was frozen meanwhile: what it asked for was stored before the next tenure."""
    stored, owner, ended, began = {}, {}, set(), {}
    for at, worker, kind, shard, offset, rest in events:
        if kind == "I":
            expect(offset >= stored.get(shard, 0),
                   f"shard {shard} began again at {offset} at worker {worker}, and {stored.get(shard)} was checkpointed")
            for parent in parents.get(shard, ()):
                expect(parent in ended, f"shard {shard} began before the end of its parent {parent} was checkpointed")
            owner[shard] = worker
            began.setdefault(shard, []).append((at, worker, offset))
        elif kind == "C" and rest[0] == "OK":
            before = [tenure for tenure in began[shard] if tenure[0] <= int(rest[1])]
            behind = began[shard][len(before):]
            if behind and before and before[-1][1] == worker:
                expect(offset <= behind[0][2], f"worker {worker} checkpointed shard {shard} at {offset}, though worker "
                       f"{behind[0][1]} had begun at {behind[0][2]}")
                continue
            expect(owner[shard] == worker, f"worker {worker} checkpointed shard {shard}, which {owner[shard]} has")
            if offset == NONE:
                ended.add(shard)
            stored[shard] = max(stored.get(shard, 0), offset)
    return len(ended)


def number_of(shard):
    return int(shard.removeprefix("shardId-"))


def reshard(cluster, rng):
    """One split or merge; a stream that is being changed already is left alone."""
    open_shards = [s for s in cluster.shards("orders") if s["state"] == "ACTIVE"]
    open_shards.sort(key=lambda s: int(s["hash_first"]))
    at = rng.randrange(len(open_shards) - 1)
    if rng.random() < 0.5:
        command = ["weirctl", "shard", "split", "orders", open_shards[at]["id"]]
    else:
        command = ["weirctl", "shard", "merge", "orders", open_shards[at]["id"], open_shards[at + 1]["id"]]
    return cluster.run(*command, check=False).returncode == 0


def trouble(cluster, rng, workers, make, seconds):
    """Kills and freezes workers, kills the active controller, splits and merges."""
    begin = time.monotonic()
    end = begin + seconds
    frozen, did = {}, {"killed": 0, "frozen": 0, "resharded": 0, "controllers": 0}
    # Each kind once, whatever the seed and however slow the machine; then what comes.
    planned = ["killed", "frozen", "resharded", "controllers"]
    rng.shuffle(planned)
    while planned or time.monotonic() < end:
        time.sleep(1.2)
        for worker, until in list(frozen.items()):
            if time.monotonic() > until:
                workers[worker].process.send_signal(signal.SIGCONT)
                del frozen[worker]
        free = [w for w in range(WORKERS) if w not in frozen]
        kind = planned[0] if planned else rng.choices(["killed", "frozen", "resharded"], [30, 25, 45])[0]
        worker = rng.choice(free)
        if kind == "controllers":
            name = cluster.active_controller()
            cluster.local("kill", name)
            time.sleep(2)
            cluster.local("start", name)
            did[kind] += 1
        elif kind == "killed" and len(free) > 2:
            workers[worker].kill()
            workers[worker] = make()
            did[kind] += 1
        elif kind == "frozen" and len(free) > 3:
            workers[worker].process.send_signal(signal.SIGSTOP)
            # The first for longer than a term, and one more of a new active controller: its leases go to others.
            frozen[worker] = time.monotonic() + (10 if not did[kind] else rng.choice([1, 5]))
            end = end if did[kind] else max(end, frozen[worker])
            did[kind] += 1
        else:
            did["resharded"] += reshard(cluster, rng)
        if planned and did[planned[0]]:
            planned.pop(0)
        expect(time.monotonic() < begin + seconds + 60, f"not everything happened: {did}, still to come: {planned}")
    for worker in frozen:
        workers[worker].process.send_signal(signal.SIGCONT)
    return did


def wait_for_all(logs, total, seconds):
    end = time.monotonic() + seconds
    have = 0
    while time.monotonic() < end:
        have = len(processed(read_events(logs)))
        if have >= total:
            return
        time.sleep(0.5)
    raise Failed(f"{have} of {total} records were processed {seconds} s after the last was put")


def chaos(options):
    rng = random.Random(options.seed)
    options.clusters.close()
    with Cluster(options.bin, controller_settings=("lease-term=3s",)) as cluster:
        cluster.create("orders", SHARDS)
        logs, workers = [], []

        def make():
            logs.append(os.path.join(cluster.dir, f"worker-{len(logs)}.log"))
            more = ("push",) if len(logs) % 2 else ()
            return Worker(cluster, "billing", "orders", logs[-1], "sleep-us", "2000", "every", "3", "records-max", "50", *more)

        load = Load(cluster, "orders", 1500)
        try:
            workers += [make() for _ in range(WORKERS)]
            load.start()
            did = trouble(cluster, rng, workers, make, options.seconds)
            total = load.finish()
            wait_for_all(logs, total, 40)
            for worker in workers:
                worker.end()
        finally:
            load.over.set()
            if load.put.poll() is None:
                load.put.kill()
            for worker in workers:
                if worker.process.poll() is None:
                    worker.kill()
        events = read_events(logs)
        again = check_order(events, load.next)
        parents = {number_of(s["id"]): [number_of(p) for p in s["parents"]] for s in cluster.shards("orders")}
        ended = check_fences(events, parents)
        cluster.no_reports()
        lost = sum(event[2] == "L" for event in events)
        expect(lost > 0, "no frozen worker has noticed that its leases were gone")
        return f"{total} records, {again} of them again, {ended} shards ended, {lost} leases lost, seed {options.seed}, {did}"


def lines_of(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return file.read().splitlines()


def wait_lines(path, count, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and len(set(lines_of(path))) < count:
        time.sleep(0.2)
    have = len(set(lines_of(path)))
    expect(have >= count, f"{have} of {count} records reached the record processor")


def exec_processor(options):
    with options.clusters.place("exec") as at:
        cluster = at.cluster
        cluster.create(at.stream, 4)
        script, out = at.path("processor.py"), at.path("processed")
        with open(script, "w", encoding="utf-8") as file:
            file.write(PROCESSOR)
        cluster.run("weir", "put", at.stream, "--key-field", "1", "--quiet",
                    stdin="".join(f"k{i % 50} {i}\n" for i in range(4000)))
        command = ["weir", "consume-exec", at.app, at.stream, "--records-max", "100", "--answer-within", "20s", "--",
                   sys.executable, script, out, "500"]
        with open(at.path("errors"), "w", encoding="utf-8") as errors:
            with subprocess.Popen(command, env=cluster.env, stderr=errors) as process:
                try:
                    wait_lines(out, 4000, 20)
                    cluster.run("weirctl", "shard", "split", at.stream, "0")
                    cluster.run("weir", "put", at.stream, "--key-field", "1", "--quiet",
                                stdin="".join(f"k{i % 50} {i}\n" for i in range(4000, 6000)))
                    wait_lines(out, 6000, 20)
                finally:
                    process.terminate()
                    process.wait(timeout=30)
                expect(process.returncode == 0, f"consume-exec exited {process.returncode}")
        said = "\n".join(lines_of(at.path("errors")))
        crashed = [name for name in os.listdir(at.dir) if ".crashed-" in name]
        expect(len(crashed) >= 4, f"only {len(crashed)} of the record processors crashed: {said}")
        expect("it exited with code 3" in said, f"nothing was said of the crash: {said}")
        lines = lines_of(out)
        newest = {}
        for line in lines:
            _, _, key, text = line.split(" ", 3)
            number = int(text.split(" ")[1])
            expect(number <= newest.get(key, number - 50) + 50, f"{key}: {number} came before {newest.get(key, -50) + 50}")
            newest[key] = max(newest.get(key, -1), number)
        again = len(lines) - len(set(lines))
        expect(again <= 100 * len(crashed), f"{again} records were processed again after {len(crashed)} crashes")
        return f"our own processor; {len(crashed)} crashes, {again} records again"


KCLPY = r'''
import sys
sys.path.insert(0, sys.argv[1])
from amazon_kclpy import kcl
from amazon_kclpy.v3 import processor
class Processor(processor.RecordProcessorBase):
    def initialize(self, given):
        self.shard = given.shard_id
    def process_records(self, given):
        with open(sys.argv[2], "a") as file:
            for record in given.records:
                file.write("%s %s\n" % (record.partition_key, record.binary_data.decode()))
        last = given.records[-1]
        given.checkpointer.checkpoint(last.sequence_number, last.sub_sequence_number)
    def lease_lost(self, given):
        pass
    def shard_ended(self, given):
        given.checkpointer.checkpoint()
    def shutdown_requested(self, given):
        given.checkpointer.checkpoint()
kcl.KCLProcess(Processor()).run()
'''


def fetch_kclpy():
    """Where amazon_kclpy's source is (its installation would want Java), kept in build/; or why it is not to be had."""
    directory = os.path.join(TREE, "build", "kclpy")
    source = os.path.join(directory, "amazon_kclpy-3.2.0")
    if os.path.isdir(source):
        return source, ""
    result = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", directory,
                             "amazon_kclpy==3.2.0"], capture_output=True, text=True, timeout=60, check=False)
    if not os.path.exists(source + ".tar.gz"):
        return "", f"skipped: the package index cannot be reached ({result.stderr.strip()[-80:]})"
    subprocess.run(["tar", "-xzf", source + ".tar.gz", "-C", directory], check=True)
    return source, ""


def exec_kclpy(options):
    with options.clusters.place("kclpy") as at:
        cluster = at.cluster
        source, reason = fetch_kclpy()
        if reason:
            return reason
        cluster.create(at.stream, 2)
        script, out = at.path("kclpy.py"), at.path("processed")
        with open(script, "w", encoding="utf-8") as file:
            file.write(KCLPY)
        cluster.run("weir", "put", at.stream, "--key-field", "1", "--quiet", "--aggregate",
                    stdin="".join(f"k{i % 50} {i}\n" for i in range(3000)))
        command = ["weir", "consume-exec", at.app, at.stream, "--push", "--", sys.executable, script, source, out]
        with subprocess.Popen(command, env=cluster.env) as process:
            try:
                wait_lines(out, 3000, 30)
            finally:
                process.terminate()
                process.wait(timeout=30)
        expect(len(lines_of(out)) == 3000, f"{len(lines_of(out))} records for 3000")
        rest = cluster.run("timeout", "3", "weir", "consume", at.app, at.stream, "--quiet", check=False).stdout
        expect(rest == "", f"after its last checkpoint there was more: {rest[:100]}")
        return "amazon_kclpy 3.2.0, aggregated records, push"


def reset_of_a_shard(at):
    """One shard of an application that has read everything begins again, the others do not."""
    cluster = at.cluster
    shard = [json.loads(line) for line in cluster.run("weir", "get", at.stream, "--shard", "1", "--json").stdout.splitlines()]
    said = cluster.run("weirctl", "app", "reset", at.app, "--stream", at.stream, "--shard", "shardId-000000000001", "--from",
                       "trim-horizon").stdout
    expect(said == "1 shard begins again\n", f"app reset: {said}")
    again = cluster.run("timeout", "5", "weir", "consume", at.app, at.stream, "--json", check=False).stdout.splitlines()
    got = [json.loads(line)["sequence_number"] for line in again]
    expect(got == [row["sequence_number"] for row in shard], f"{len(got)} records again, the shard has {len(shard)}")
    for arguments, code, sentence in ((("--shard", "x"), 2, "just 3"), (("--shard", "7"), 3, "no lease of shard 7")):
        result = cluster.run("weirctl", "app", "reset", at.app, "--from", "latest", *arguments, check=False)
        expect(result.returncode == code and sentence in result.stderr, f"{arguments}: {result.returncode} {result.stderr}")


def terminal(options):
    with options.clusters.place("terminal") as at:
        cluster = at.cluster
        cluster.create(at.stream, 3)
        cluster.run("weir", "put", at.stream, "--key-field", "1", "--quiet", stdin="".join(f"k{i} {i}\n" for i in range(900)))
        first = cluster.run("weir", "consume", at.app, at.stream, "--json", "--count", "400").stdout.splitlines()
        second = cluster.run("weir", "consume", at.app, at.stream, "--json", "--count", "500", "--push").stdout.splitlines()
        rows = [json.loads(line) for line in first + second]
        expect(len(first) == 400 and len({row["data"] for row in rows}) == 900, f"{len(first)} and {len(second)} records")
        reset_of_a_shard(at)
        for arguments, sentence in ((("no-such",), "no-such"), ((at.stream, "--from", "nowhere"), "trim-horizon"),
                                    ((at.stream, "--records-max", "0"), "--records-max")):
            result = cluster.run("weir", "consume", at.app + "-2", *arguments, check=False)
            expect(result.returncode != 0 and sentence in result.stderr, f"{arguments}: {result.stderr}")
        a = subprocess.Popen(["weir", "consume", at.app, at.stream, "--worker", "one"], env=cluster.env,
                             stderr=subprocess.PIPE, text=True)
        time.sleep(1)
        b = subprocess.Popen(["weir", "consume", at.app, at.stream, "--worker", "one"], env=cluster.env)
        _, said = a.communicate(timeout=20)
        b.terminate()
        b.wait(timeout=30)
        expect(a.returncode != 0 and said, "a worker whose name was taken went on")
        return said.strip().splitlines()[-1]


def operate(options):
    """What an operator sees of an application and does with it, and where one begins."""
    with options.clusters.place("operate") as at:
        cluster = at.cluster
        cluster.create(at.stream, 2)
        put = lambda text: cluster.run("weir", "put", at.stream, "--key-field", "1", "--quiet", stdin=text)  # noqa: E731
        put("".join(f"k{i} {i}\n" for i in range(100)))

        def listed():
            return [a for a in cluster.json("weirctl", "app", "list")["applications"] if a["application"] == at.app]

        def leases(wanted):
            end, seen = time.monotonic() + 15, None
            while time.monotonic() < end:
                said = cluster.run("weirctl", "app", "describe", at.app, "--json", check=False).stdout
                seen = json.loads(said or '{"leases": []}')  # before its first worker there is no application
                if len(seen["leases"]) == 2 and all(wanted(lease) for lease in seen["leases"]):
                    return seen
                time.sleep(0.2)
            raise Failed(f"the leases are {seen}")
        log = at.path("worker.log")
        worker = Worker(cluster, at.app, at.stream, log, "every", "1")
        try:
            seen = leases(lambda lease: lease["owner"] and lease["lag_records"] == 0 and lease["lag_ms"] == 0)
            expect(all(lease["checkpoint"].isdigit() and lease["counter"] > 0 for lease in seen["leases"]), f"{seen['leases']}")
            expect(len(seen["workers"]) == 1 and seen["workers"][0]["leases"] == 2, f"workers: {seen['workers']}")
            apps = listed()
            expect([(a["application"], a["workers"], a["leases"], a["unowned"]) for a in apps] == [(at.app, 1, 2, 0)], f"{apps}")
            shown = cluster.run("weirctl", "app", "describe", at.app).stdout
            expect("shardId-000000000001" in shown and seen["workers"][0]["worker"] in shown, shown)
            refused = cluster.run("weirctl", "app", "delete", at.app, check=False)
            expect(refused.returncode == 1 and "stop them first" in refused.stderr, f"deleted under its worker: {refused.stderr}")
            worker.process.send_signal(signal.SIGSTOP)
            put("".join(f"k{i} {i}\n" for i in range(100, 150)))
            time.sleep(1)
            behind = cluster.json("weirctl", "app", "describe", at.app)["leases"]
            expect(sum(lease["lag_records"] or 0 for lease in behind) == 50 and all(900 <= lease["lag_ms"] < 60000 for lease in behind if lease["lag_records"]),
                   f"50 records behind: {behind}")
        finally:
            worker.end()
        leases(lambda lease: not lease["owner"])
        cluster.run("weirctl", "app", "delete", at.app)
        gone = cluster.run("weirctl", "app", "describe", at.app, check=False)
        expect(gone.returncode == 3 and listed() == [], "deleted, and still there")
        since = time.time()
        time.sleep(0.1)
        put("k1 late\n")
        got = cluster.run("weir", "consume", "since-" + at.app, at.stream, "--from", "at-timestamp", f"{since:.3f}", "--count", "1").stdout
        expect(got == "k1 late\n", f"from a time: {got}")
        with subprocess.Popen(["weir", "consume", "newest-" + at.app, at.stream, "--from", "latest", "--count", "1"], env=cluster.env,
                              stdout=subprocess.PIPE, text=True) as newest:
            end = time.monotonic() + 15
            while "newest-" + at.app not in cluster.run("weirctl", "app", "list").stdout and time.monotonic() < end:
                time.sleep(0.2)
            time.sleep(1.5)
            put("k2 newer\n")
            got, _ = newest.communicate(timeout=20)
        expect(got == "k2 newer\n", f"from the newest: {got}")
        return ""


def wordcount(options):
    with options.clusters.place("wordcount") as at:
        cluster = at.cluster
        cluster.create(at.stream, 3)
        cluster.run("weir", "put", at.stream, "--key-random", "--quiet", stdin="the weir, the water\n" * 500)
        out = at.path("counts")
        with open(out, "w", encoding="utf-8") as file:
            workers = [subprocess.Popen(["weir-wordcount", at.app, at.stream], env=cluster.env, stdout=file) for _ in range(2)]
            time.sleep(4)
            for worker in workers:
                worker.terminate()
            codes = [worker.wait(timeout=30) for worker in workers]
        expect(codes == [0, 0], f"exit codes {codes}")
        counts = {}
        for line in lines_of(out):
            word, count = line.split(" ")
            counts[word] = counts.get(word, 0) + int(count)
        expect(counts == {"the": 1000, "weir": 500, "water": 500}, f"counted {counts}")
        return "two workers"


def wait_events(log, kind, count, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        events = [event for event in read_events([log]) if event[2] == kind]
        if len(events) >= count:
            return events
        time.sleep(0.1)
    raise Failed(f"{log}: {len(events)} of {count} events {kind}")


def tenures(log):
    return {event[3]: event[0] for event in read_events([log]) if event[2] == "I"}


def wait_tenures(log, count, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end and len(tenures(log)) < count:
        time.sleep(0.05)
    expect(len(tenures(log)) >= count, f"{log}: {len(tenures(log))} of {count} shards began in {seconds} s")


def hand_over(options):
    """Shards go from worker to worker while records come: gracefully nothing is processed twice; a killed one's move, too."""
    with options.clusters.place("hand-over", "lease-term=3s") as at:
        cluster = at.cluster
        cluster.create(at.stream, 4)
        logs = [at.path(f"worker-{i}.log") for i in range(3)]
        load = Load(cluster, at.stream, 1000)
        workers = []

        def start(i, shards):
            workers.append(Worker(cluster, at.app, at.stream, logs[i], "automatic", "records-max", "20", "sleep-us", "1000"))
            wait_tenures(logs[i], shards)
        try:
            load.start()
            start(0, 4)
            start(1, 2)
            workers[0].end()  # the rest goes to the second
            wait_tenures(logs[1], 4)
            time.sleep(1)
            graceful = read_events(logs)
            start(2, 2)
            had = tenures(logs[1]).keys() - tenures(logs[2]).keys()
            killed_at = time.monotonic_ns()
            workers[1].kill()
            wait_tenures(logs[2], 4)
            dead_ms = max(tenures(logs[2])[shard] for shard in had) / 1e6 - killed_at / 1e6
            total = load.finish()
            wait_for_all(logs, total, 30)
            workers[2].end()
        finally:
            load.over.set()
            if load.put.poll() is None:
                load.put.kill()
            for worker in workers:
                if worker.process.poll() is None:
                    worker.kill()
        seen = [(event[3], event[4]) for event in graceful if event[2] == "R"]
        expect(len(seen) == len(set(seen)), f"{len(seen) - len(set(seen))} records were processed twice though nobody died")
        told = [(event[3], event[0]) for event in graceful if event[2] == "S" and event[1] == 0]
        expect({shard for shard, _ in told} == {0, 1, 2, 3}, f"the first worker was told of the end of {told}")
        moves = [(tenures(logs[1])[shard] - at) / 1e6 for shard, at in told]
        check_order(read_events(logs), load.next)
        return f"{total} records; a hand-over took {min(moves):.0f} to {max(moves):.0f} ms, a killed worker's shards {dead_ms:.0f} ms (term 3 s)"


def two_phase(options):
    """A worker dies between the phases of a checkpoint; who has the shard next is told, and how far behind it is."""
    size, count = 1000, 4000  # more than is read ahead at once
    with options.clusters.place("two-phase", "lease-term=3s") as at:
        cluster = at.cluster
        cluster.create(at.stream, 1)
        rng = random.Random(options.seed)
        lines = (f"k {i} " + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=size)) + "\n" for i in range(count))
        cluster.run("weir", "put", at.stream, "--key-field", "1", "--quiet", stdin="".join(lines))
        logs = [at.path(f"phase-{i}.log") for i in range(2)]
        first = Worker(cluster, at.app, at.stream, logs[0], "records-max", "20", "prepare", "4")
        try:
            said = wait_events(logs[0], "P", 4)
            expect([event[5][0] for event in said] == ["OK"] * 4, f"preparing: {said}")
        finally:
            first.kill()
        done = [event for event in read_events(logs[:1]) if event[2] == "C"]
        expect(len(done) == 3 and all(event[5][0] == "OK" for event in done), f"committing: {done}")
        pending = lambda: cluster.json("weirctl", "app", "describe", at.app)["leases"][0]["pending_offset"]  # noqa: E731
        expect(pending() == said[-1][4], f"{pending()} is pending, {said[-1][4]} was prepared")
        second = Worker(cluster, at.app, at.stream, logs[1], "records-max", "20", "behind")
        try:
            begun = wait_events(logs[1], "I", 1)[0]
            expect((begun[4], begun[5]) == (done[-1][4], [str(said[-1][4])]),
                   f"it began at {begun[4]} with {begun[5]} pending, {done[-1][4]} was committed and {said[-1][4]} prepared")
            records = count - 3 * 20
            wait_events(logs[1], "R", records, 60)
            behind = [(event[4], int(event[5][0])) for event in wait_events(logs[1], "B", records // 20)]
        finally:
            second.end()
        expect(pending() is None, f"after other checkpoints {pending()} is pending")
        expect(behind[-1] == (0, 0), f"behind at the tip: {behind[-1]}")
        for left, took in behind:
            expect(left * size <= took <= left * (size + 40) + 1000, f"{left} records of {size} B behind, said to be {took} B")
        return f"{len(behind)} deliveries, first {behind[0][0]} records and {behind[0][1]} B behind"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--seconds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100000)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    options.bin = os.path.abspath(options.bin)
    options.clusters = Clusters(options)
    tests = [("terminal", terminal), ("operate", operate), ("wordcount", wordcount), ("exec", exec_processor), ("kclpy", exec_kclpy),
             ("hand-over", hand_over), ("two-phase", two_phase), ("chaos", chaos)]
    try:
        return run_all([(name, lambda test=test: test(options)) for name, test in tests if options.only in name])
    finally:
        options.clusters.close()


if __name__ == "__main__":
    sys.exit(main())
