#!/usr/bin/env python3
"""Nothing is lost: 100,000 numbered lines at full speed while processes are killed, frozen and restarted.

After each failure: every line was acknowledged, is there exactly once, keys are in order, sequence numbers rise and are
the acknowledged ones. At the end the three replicas of every shard hold the same bytes. Prints the longest gap in
acknowledged writes for each failure.

usage: failures.py --bin DIR [--lines N] [--only NAME]"""
import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time

from cluster import Cluster, expect, run_all

KEYS = 500
SHARDS = 6


def write_input(path, lines):
    with open(path, "w", encoding="utf-8") as file:
        for i in range(lines):
            file.write(f"key-{i % KEYS:04d} {i // KEYS} line {i} {'x' * (400 + i % 397)}\n")


class AckWatcher(threading.Thread):
    """Follows the log of acknowledgements and notes when each shard's next ones came."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.count, self.done = path, 0, False
        self.last, self.gap = {}, {}

    def run(self):
        while not os.path.exists(self.path) and not self.done:
            time.sleep(0.002)
        rest = b""
        with open(self.path, "rb") as file:
            while True:
                finished = self.done
                chunk = file.read()
                if chunk:
                    now = time.monotonic()
                    lines = (rest + chunk).split(b"\n")
                    rest = lines.pop()
                    self.count += len(lines)
                    for shard in {line.split()[1] for line in lines if line}:
                        before = self.last.get(shard)
                        if before is not None:
                            self.gap[shard] = max(self.gap.get(shard, 0), now - before)
                        self.last[shard] = now
                elif finished:
                    return
                else:
                    time.sleep(0.002)

    def longest_gap_ms(self):
        return 1000 * max(self.gap.values(), default=0)


class Campaign:
    def __init__(self, cluster, lines):
        self.cluster, self.lines = cluster, lines
        self.input = os.path.join(cluster.dir, "input")
        write_input(self.input, lines)
        with open(self.input, encoding="utf-8") as file:
            self.text = file.read().splitlines()
        self.streams = []

    def put_during(self, name, prepare):
        """Puts all lines; when a fifth is acknowledged, what `prepare(stream)` returned is called, which must take effect
        before the put is over; what it returns in turn is called then. Returns a sentence."""
        c = self.cluster
        c.create(name, SHARDS)
        self.streams.append(name)
        failure = prepare(name)
        ack_path = os.path.join(c.dir, f"{name}.acks")
        watcher = AckWatcher(ack_path)
        watcher.start()
        begin = time.monotonic()
        with open(self.input, "rb") as source:
            put = subprocess.Popen(["weir", "put", name, "--key-field", "1", "--ack-log", ack_path], stdin=source, env=c.env,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            try:
                while watcher.count < self.lines // 5 and put.poll() is None and time.monotonic() - begin < 60:
                    time.sleep(0.001)
                after = failure()
                during = watcher.count
                if after:
                    after()
                said = put.communicate(timeout=180)[0]
            except BaseException:
                put.kill()
                put.wait()
                raise
        took = time.monotonic() - begin
        watcher.done = True
        watcher.join(10)
        expect(put.returncode == 0, f"weir put exited {put.returncode}: {said[-500:]}")
        expect(during < self.lines, "the put was over before the failure: use more --lines")
        self.check(name, ack_path)
        return (f"{self.lines} lines in {took:.1f} s, {during} acknowledged before it, longest gap in acknowledged writes "
                f"{watcher.longest_gap_ms():.0f} ms")

    def check(self, stream, ack_path):
        acks = {}
        with open(ack_path, encoding="utf-8") as file:
            for line in file:
                number, shard, sequence = line.split()
                expect(number not in acks, f"line {number} was acknowledged twice")
                acks[number] = (shard, sequence)
        expect(len(acks) == self.lines, f"{len(acks)} of {self.lines} lines were acknowledged")
        by_sequence = {where: int(number) for number, where in acks.items()}
        expect(len(by_sequence) == self.lines, "two lines were acknowledged with the same sequence number")
        output = self.cluster.run("weir", "get", stream, "--from", "trim-horizon", "--json", timeout=120).stdout
        seen, next_of_key, last_of_shard = set(), {}, {}
        for row in map(json.loads, output.splitlines()):
            where = (row["shard"], row["sequence_number"])
            number = by_sequence.get(where)
            expect(number is not None, f"a record that nobody acknowledged, at {where}: {row['data'][:60]}")
            expect(row["data"] == self.text[number - 1], f"{where} holds '{row['data'][:60]}', acknowledged was line {number}")
            expect(number not in seen, f"line {number} was read twice")
            seen.add(number)
            key, rank = row["data"].split()[:2]
            expect(key == row["partition_key"], f"line {number} has the partition key {row['partition_key']}")
            expect(int(rank) == next_of_key.get(key, 0), f"{key}: {rank} after {next_of_key.get(key, 0) - 1}")
            next_of_key[key] = int(rank) + 1
            expect(int(where[1]) > last_of_shard.get(where[0], 0), f"sequence numbers fall at {where}")
            last_of_shard[where[0]] = int(where[1])
        expect(len(seen) == self.lines, f"{self.lines - len(seen)} acknowledged lines are gone")

    # -- the failures ---------------------------------------------------------------------------------

    def leader_and_follower(self, stream):
        shard = self.cluster.shards(stream)[0]
        leader = shard["leader"]
        follower = next(r["broker"] for r in shard["replicas"] if r["broker"] != leader)
        return leader, follower

    def pid(self, name):
        return int(self.cluster.local("pid", name))

    def kill_one(self, test, choose):
        def prepare(stream):
            self.down = choose(stream)
            pid = self.pid(self.down)
            return lambda: os.kill(pid, signal.SIGKILL)
        said = self.put_during(test, prepare)
        self.cluster.local("start", self.down)
        self.cluster.wait_in_sync(test)
        return said

    def leader(self):
        return self.kill_one("leader-killed", lambda stream: self.leader_and_follower(stream)[0])

    def follower(self):
        return self.kill_one("follower-killed", lambda stream: self.leader_and_follower(stream)[1])

    def controller(self):
        return self.kill_one("active-controller-killed", lambda _: self.cluster.active_controller())

    def frozen(self):
        def prepare(stream):
            pid = self.pid(self.leader_and_follower(stream)[0])

            def failure():
                os.kill(pid, signal.SIGSTOP)
                return lambda: (time.sleep(10), os.kill(pid, signal.SIGCONT))
            return failure
        said = self.put_during("leader-frozen", prepare)
        self.cluster.wait_in_sync("leader-frozen")
        return said

    def everything(self):
        def prepare(_):
            pids = [self.pid(name) for name in self.cluster.names()]

            def failure():
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                return lambda: [time.sleep(0.3)] + [self.cluster.local("start", name) for name in self.cluster.names()]
            return failure
        said = self.put_during("everything-killed", prepare)
        self.cluster.wait_in_sync("everything-killed")
        return said

    def controllers(self):
        """No controller at all: data goes on flowing."""
        names = [name for name in self.cluster.names() if name.startswith("controller")]

        def prepare(_):
            pids = [self.pid(name) for name in names]

            def failure():
                for pid in pids:
                    os.kill(pid, signal.SIGKILL)
                return lambda: [time.sleep(4)] + [self.cluster.local("start", name) for name in names]
            return failure
        said = self.put_during("controllers-gone", prepare)
        gap = float(said.rsplit(" ", 2)[1])
        expect(gap < 3000, f"writes waited for the controllers: {said}")
        return said

    def damaged(self):
        """Bytes of a stopped follower's journal change: it is uncertain of what it had, and promised, until others tell."""
        test = "journal-damaged"

        def prepare(stream):
            self.down = self.leader_and_follower(stream)[1]
            pid = self.pid(self.down)
            return lambda: os.kill(pid, signal.SIGKILL)
        said = self.put_during(test, prepare)
        journal = os.path.join(self.cluster.dir, self.down, "data", "journal")
        used = {}
        for name in os.listdir(journal):
            with open(os.path.join(journal, name), "rb") as file:
                used[name] = len(file.read().rstrip(b"\0"))
        name = max(used, key=used.get)
        with open(os.path.join(journal, name), "r+b") as file:
            file.seek(used[name] // 2)
            old = file.read(64)
            file.seek(used[name] // 2)
            file.write(bytes(byte ^ 255 for byte in old))
        self.cluster.local("start", self.down)
        self.cluster.wait_in_sync(test)
        start = [line for line in self.cluster.log(self.down).splitlines() if " uncertain, " in line][-1]
        expect("(0 uncertain" not in start, f"the damage was not noticed: {start}")
        return said

    def replicas(self):
        """The three replicas of every shard hold the same bytes, after a clean end."""
        for stream in self.streams:
            self.cluster.wait_in_sync(stream)
        self.cluster.local("down")
        disks = {f"broker-{i + 1}": self.cluster.inspect(f"broker-{i + 1}") for i in range(self.cluster.brokers)}
        shards = sorted({shard for disk in disks.values() for shard in disk})
        expect(len(shards) >= SHARDS * len(self.streams), f"only {len(shards)} shards on the disks")
        for shard in shards:
            held = {broker: disk[shard] for broker, disk in disks.items() if shard in disk}
            expect(len(held) == 3, f"shard {shard} is on {sorted(held)}")
            facts = {(row["log_start"], row["end"], row["sha256"], row["bytes"]) for row in held.values()}
            expect(len(facts) == 1, f"the replicas of shard {shard} differ: {held}")
        return f"{len(shards)} shards, three equal replicas each"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--lines", type=int, default=100000)
    parser.add_argument("--only")
    arguments = parser.parse_args()
    with Cluster(arguments.bin) as cluster:
        campaign = Campaign(cluster, arguments.lines)
        # The first: on fresh disks the middle of what a journal file holds is sure to be still needed.
        tests = [("kill -9 of a follower, its journal damaged", campaign.damaged),
                 ("kill -9 of a shard's leader", campaign.leader), ("kill -9 of a follower", campaign.follower),
                 ("kill -9 of the active controller", campaign.controller),
                 ("SIGSTOP of a leader for 10 s", campaign.frozen),
                 ("kill -9 of all controllers, for 4 s", campaign.controllers),
                 ("kill -9 of everything, restarted", campaign.everything)]
        if arguments.only:
            tests = [(name, test) for name, test in tests if arguments.only in test.__name__]
        result = run_all(tests + [("replicas are byte-equal", campaign.replicas),
                                  ("no process reports a fault of ours", cluster.no_reports)])
        if result:
            cluster.show_logs()
    return result


if __name__ == "__main__":
    sys.exit(main())
