#!/usr/bin/env python3
"""Shards are split and merged under full load, and nothing is lost, repeated or out of order.

Lines of 200 keys are put while the stream goes from 2 shards to 4, 3, 6 and 1, and a leader is killed in between. Then:
every line is there exactly once; the lines of a key are in order over parents and children; the sequence numbers of a
child are greater than its parents'; and whenever anybody looked, the ranges of the open shards covered all hash keys.

usage: reshard.py --bin DIR [--only NAME]"""
import argparse
import collections
import json
import os
import subprocess
import sys
import threading
import time

from cluster import Cluster, Failed, expect, run_all

KEYS = 200
STEPS = (4, 3, 6, 1)
LAST_KEY = 2 ** 128 - 1


def check_partition(shards):
    """The shards that take records cover every hash key once."""
    ranges = sorted((int(s["hash_first"]), int(s["hash_last"])) for s in shards if s["takes_records"])
    at = 0
    for first, last in ranges:
        expect(first == at, f"the open ranges leave a hole or overlap at {at}: {ranges}")
        at = last + 1
    expect(at == LAST_KEY + 1, f"the open ranges end at {at}: {ranges}")
    return len(ranges)


class Feeder(threading.Thread):
    """Writes numbered lines until it is told to stop."""

    def __init__(self, pipe):
        super().__init__(daemon=True)
        self.pipe, self.lines, self.stop = pipe, 0, False

    def run(self):
        try:
            while not self.stop:
                block = []
                for i in range(self.lines, self.lines + 1000):
                    block.append(f"key-{i % KEYS:03d} {i // KEYS} line {i} {'x' * (50 + i % 97)}\n")
                self.pipe.write("".join(block).encode())
                self.lines += 1000
        finally:
            self.pipe.close()


class Looker(threading.Thread):
    """Looks at the open shards all the time, and for the longest time that a change took."""

    def __init__(self, cluster, stream):
        super().__init__(daemon=True)
        self.cluster, self.stream, self.stop, self.problem, self.looks = cluster, stream, False, None, 0

    def run(self):
        while not self.stop and self.problem is None:
            try:
                check_partition(self.cluster.shards(self.stream))
                self.looks += 1
            except Failed as problem:
                if "open ranges" in str(problem):
                    self.problem = problem
            time.sleep(0.02)


def change(cluster, *command):
    begin = time.monotonic()
    cluster.run("weirctl", *command, "--timeout", "60s", timeout=90)
    return time.monotonic() - begin


def check_records(cluster, stream, lines, acks):
    shards = {s["id"]: s for s in cluster.shards(stream)}
    output = cluster.run("weir", "get", stream, "--from", "trim-horizon", "--json", timeout=180).stdout
    seen, next_of_key, first, last, where, came, gaps = set(), {}, {}, {}, {}, {}, []
    for text in output.splitlines():
        row = json.loads(text)
        key, sequence_of_key, _, number, _ = row["data"].split(" ", 4)
        number, shard, sequence = int(number), row["shard"], int(row["sequence_number"])
        expect(number not in seen, f"line {number} is there twice, in {where.get(number)} and {shard}")
        seen.add(number)
        where[number] = shard
        expect(int(sequence_of_key) == next_of_key.get(key, 0),
               f"{key}: line {sequence_of_key} comes when {next_of_key.get(key, 0)} is due, in {shard}")
        next_of_key[key] = int(sequence_of_key) + 1
        before = came.get(key)
        if before and before[0] != shard:
            gaps.append(row["arrival_ms"] - before[1])
        came[key] = (shard, row["arrival_ms"])
        expect(sequence > last.get(shard, -1), f"sequence numbers of {shard} do not rise")
        first.setdefault(shard, sequence)
        last[shard] = sequence
        expect(acks.get(number) == (shard, row["sequence_number"]), f"line {number} was acknowledged as {acks.get(number)}")
    expect(len(seen) == lines, f"{len(seen)} of {lines} lines are there")
    for name, shard in shards.items():
        for parent in shard["parents"]:
            expect(shards[parent]["state"] == "SEALED", f"{parent} has children and is {shards[parent]['state']}")
            if name in first and parent in last:
                expect(first[name] > last[parent], f"numbers of {name} are not above those of {parent}")
            expect(int(shard["first_sequence_number"]) > last.get(parent, 0), f"{name} begins below the end of {parent}")
    gaps.sort()
    return collections.Counter(where.values()), gaps


def read_acks(path):
    acks = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            number, shard, sequence = line.split()
            expect(int(number) - 1 not in acks, f"line {number} was acknowledged twice")
            acks[int(number) - 1] = (shard, sequence)
    return acks


def under_load(cluster):
    stream = "busy"
    cluster.create(stream, 2)
    ack_path = os.path.join(cluster.dir, "busy.acks")
    put = subprocess.Popen(["weir", "put", stream, "--key-field", "1", "--ack-log", ack_path], stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=cluster.env)
    feeder, looker = Feeder(put.stdin), Looker(cluster, stream)
    feeder.start()
    looker.start()
    took, killed = [], None
    try:
        time.sleep(0.5)
        for target in STEPS:
            if target == 6:
                killed = next(s["leader"] for s in cluster.shards(stream) if s["takes_records"] and s["leader"])
                cluster.local("kill", killed)
            took.append(change(cluster, "stream", "reshard", stream, str(target)))
            expect(check_partition(cluster.shards(stream)) == target, f"the stream has not {target} open shards")
            if killed:
                cluster.local("start", killed)
                killed = None
            time.sleep(0.3)
    finally:
        looker.stop = feeder.stop = True
        feeder.join(30)
        put.stdin = None  # closed already
        said = put.communicate(timeout=180)[0].decode()
        looker.join(10)
    expect(put.returncode == 0, f"weir put exited {put.returncode}: {said[-500:]}")
    if looker.problem:
        raise looker.problem
    acks = read_acks(ack_path)
    expect(len(acks) == feeder.lines, f"{len(acks)} of {feeder.lines} lines were acknowledged: {said[-300:]}")
    shards, gaps = check_records(cluster, stream, feeder.lines, acks)
    return (f"{feeder.lines} lines over {len(shards)} shards, looked {looker.looks} times, a key waits "
            f"{gaps[len(gaps) // 2]} ms for its next shard, {gaps[-1]} ms at most, " +
            ", ".join(f"to {n} in {1000 * t:.0f} ms" for n, t in zip(STEPS, took)))


def by_hand(cluster):
    """Split at a key, merge again in any order; what cannot be is refused with a sentence."""
    stream = "hand"
    cluster.create(stream, 1)

    def put(first, count):
        lines = "".join(f"key-{i % 7} {i}\n" for i in range(first, first + count))
        cluster.run("weir", "put", stream, "--key-field", "1", stdin=lines)

    put(0, 70)
    change(cluster, "shard", "split", stream, "0", "--at", str(2 ** 126))
    put(70, 70)
    change(cluster, "shard", "merge", stream, "2", "shardId-000000000001")
    put(140, 70)
    change(cluster, "shard", "split", stream, "3")
    put(210, 70)
    shards = cluster.shards(stream)
    check_partition(shards)
    expect([s["parents"] for s in shards] == [[], ["shardId-000000000000"], ["shardId-000000000000"],
                                              ["shardId-000000000001", "shardId-000000000002"], ["shardId-000000000003"],
                                              ["shardId-000000000003"]], f"lineage: {[s['parents'] for s in shards]}")
    expect(shards[1]["hash_last"] == str(2 ** 126 - 1), "the split was not where it was wanted")
    lines = cluster.run("weir", "get", stream).stdout.splitlines()
    expect(sorted(int(x.split()[1]) for x in lines) == list(range(280)), f"{len(lines)} lines")
    for key in range(7):
        mine = [int(x.split()[1]) for x in lines if x.split()[0] == f"key-{key}"]
        expect(mine == sorted(mine), f"key-{key} is out of order: {mine}")
    for command, code in ((("split", stream, "0"), 2), (("split", stream, "99"), 3), (("merge", stream, "4", "4"), 2),
                          (("split", stream, "4", "--at", "0"), 2), (("split", "nowhere", "0"), 3)):
        result = cluster.run("weirctl", "shard", *command, check=False)
        expect(result.returncode == code and result.stderr.startswith("weirctl: "),
               f"shard {' '.join(command)} exited {result.returncode}: {result.stderr}")


def with_failing_controller(cluster):
    """The active controller dies while shards wait to be closed: the next one goes on."""
    stream = "orphan"
    cluster.create(stream, 3)
    active = cluster.active_controller()
    cluster.run("weirctl", "stream", "reshard", stream, "5", "--no-wait")
    cluster.local("kill", active)
    end = time.monotonic() + 30
    state = None
    while time.monotonic() < end:
        result = cluster.run("weirctl", "stream", "describe", stream, "--json", check=False)
        state = json.loads(result.stdout)["state"] if result.returncode == 0 else None
        if state == "ACTIVE":
            break
        time.sleep(0.1)
    cluster.local("start", active)
    expect(state == "ACTIVE", f"the stream is {state} after 30 s")
    expect(check_partition(cluster.shards(stream)) == 5, "the stream has not 5 open shards")
    cluster.run("weirctl", "stream", "delete", stream)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--only")
    options = parser.parse_args()
    with Cluster(options.bin) as cluster:
        tests = [("a stream goes from 2 shards to 4, 3, 6 and 1 under full load", lambda: under_load(cluster)),
                 ("shards are split and merged by hand", lambda: by_hand(cluster)),
                 ("the active controller dies in the middle", lambda: with_failing_controller(cluster)),
                 ("no process reports a fault", cluster.no_reports)]
        return run_all([t for t in tests if not options.only or options.only in t[0]])


if __name__ == "__main__":
    sys.exit(main())
