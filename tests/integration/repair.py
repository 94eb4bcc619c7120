#!/usr/bin/env python3
"""Damaged segments are repaired from the other replicas and never served: bits flipped in cold files are found by readers
or by the scrubber alone, the damaged broker leads meanwhile, and at the end all replicas hold the same bytes.

usage: repair.py --bin DIR"""
import argparse
import os
import random
import shutil
import sys
import time

from cluster import Cluster, expect, run_all

STREAM, SHARDS, LINES = "mended", 3, 6000
SETTINGS = ["segment-bytes=256KiB", "ring-bytes=1MiB", "block-bytes=64KiB", "journal-file-bytes=4MiB", "journal-files=4"]


class Repair:
    def __init__(self, cluster):
        self.cluster = cluster
        self.random = random.Random(7)
        cluster.create(STREAM, SHARDS)
        self.lines = [f"line {i} {'x' * (600 + i * 7 % 500)}" for i in range(LINES)]
        cluster.run("weir", "put", STREAM, stdin="".join(line + "\n" for line in self.lines))
        cluster.wait_in_sync(STREAM)
        time.sleep(1.5)  # what was written reaches the segments

    def segments(self, broker):
        """Full segment files, oldest first."""
        out = []
        root = os.path.join(self.cluster.dir, broker, "data", "shards")
        for shard in sorted(os.listdir(root)):
            names = sorted(name for name in os.listdir(os.path.join(root, shard)) if name.endswith(".log"))
            out += [os.path.join(root, shard, name) for name in names[:-1]]
        expect(len(out) >= SHARDS, f"{broker} has only {len(out)} full segments")
        return out

    def flip(self, path, at, count=1):
        with open(path, "r+b") as file:
            file.seek(at)
            old = file.read(count)
            file.seek(at)
            file.write(bytes(byte ^ 0x41 for byte in old))

    def lead(self, broker):
        for shard in range(SHARDS):
            self.cluster.run("weirctl", "leader", "move", STREAM, str(shard), broker)

    def read_all(self, what):
        got = self.cluster.run("weir", "get", STREAM).stdout.splitlines()
        expect(sorted(got) == sorted(self.lines), f"{what}: {len(got)} lines of {len(self.lines)}, or other ones")

    def damage(self, broker):
        return next(row for row in self.cluster.json("weirctl", "broker", "list")["brokers"] if row["name"] == broker)

    def wait_for(self, what, seconds, condition):
        end = time.monotonic() + seconds
        while not condition():
            expect(time.monotonic() < end, f"not within {seconds} s: {what}")
            time.sleep(0.2)

    # -- the tests ------------------------------------------------------------------------------------

    def by_readers(self):
        """Bits of every kind of place in one broker's files; it leads, and is read."""
        paths = self.segments("broker-1")
        for number, path in enumerate(paths):
            size = os.path.getsize(path)
            kind = number % 5
            if kind == 0:
                self.flip(path, 10)  # the first header
            elif kind == 1:
                self.flip(path, size - 5)  # the last payload
            elif kind == 2:
                self.flip(path, self.random.randrange(size))
            elif kind == 3:
                self.flip(path, size // 3, size // 4)  # many batches
            else:
                with open(path, "r+b") as file:
                    file.truncate(size // 2)
        self.lead("broker-1")
        self.read_all("from the damaged leader")
        self.wait_for("all that was damaged is found and repaired", 15,
                      lambda: self.damage("broker-1")["damage_found"] >= len(paths) and
                      self.damage("broker-1")["damage_repaired"] == self.damage("broker-1")["damage_found"] and
                      self.damage("broker-1")["damaged_replicas"] == 0)
        text = self.cluster.run("weirctl", "broker", "list").stdout
        expect("damaged pieces were found on its disk" in text, f"broker list does not tell: {text}")
        for broker in ("broker-2", "broker-3"):
            self.lead(broker)
            self.read_all(f"from {broker}")
        return f"{self.damage('broker-1')['damage_repaired']} pieces in {len(paths)} segments"

    def two_damaged(self):
        """The same segment is damaged on two brokers, in different places: each gets what it lacks from another."""
        for broker, part in (("broker-2", 4), ("broker-3", 2)):
            for path in self.segments(broker)[::4]:
                self.flip(path, os.path.getsize(path) // part, 100)
        for broker in ("broker-2", "broker-3"):
            self.lead(broker)
            self.read_all(f"from {broker}")
        self.wait_for("both are repaired", 15, lambda: all(
            self.damage(broker)["damaged_replicas"] == 0 and self.damage(broker)["damage_repaired"] > 0
            for broker in ("broker-2", "broker-3")))

    def put_more(self, what, count=200):
        more = [f"{what} {i} {'y' * 300}" for i in range(count)]
        self.cluster.run("weir", "put", STREAM, "--give-up", "30s", stdin="".join(line + "\n" for line in more))
        self.lines += more

    def leader_of(self, shard):
        return self.cluster.shards(STREAM)[shard]["leader"]

    def next_leader(self):
        """Whoever leads next is damaged in its cold segments; then the leader is killed."""
        self.lead("broker-1")
        self.wait_for("broker-1 leads", 20, lambda: all(self.leader_of(s) == "broker-1" for s in range(SHARDS)))
        before = {b: self.damage(b)["damage_repaired"] for b in ("broker-2", "broker-3")}
        for broker, first in (("broker-2", 0), ("broker-3", 2)):  # one of them leads next, each has what the other lacks
            for path in self.segments(broker)[first::4]:
                self.flip(path, os.path.getsize(path) // 3, 60)
        self.cluster.local("kill", "broker-1")
        self.put_more("after the kill")
        expect(all(self.leader_of(s) in ("broker-2", "broker-3") for s in range(SHARDS)), "no other leader")
        self.read_all("from the damaged next leaders")
        self.wait_for("both are repaired", 30, lambda: all(
            self.damage(b)["damaged_replicas"] == 0 and self.damage(b)["damage_repaired"] > before[b] for b in before))
        self.cluster.local("start", "broker-1")
        self.cluster.wait_in_sync(STREAM)

    def known_at_start(self):
        """A hole that nobody can fill now is known after a restart, reported, and filled when somebody can."""
        c, name = self.cluster, "broker-2"
        self.lead("broker-1")
        self.wait_for("broker-1 leads", 20, lambda: all(self.leader_of(s) == "broker-1" for s in range(SHARDS)))
        list_file = os.path.join(c.dir, name, "data", "damage")
        for other in ("broker-1", "broker-3"):
            c.local("kill", other)
        for path in self.segments(name)[::2]:
            self.flip(path, os.path.getsize(path) // 2, 40)
        self.wait_for("the scrubber has found it", 60, lambda: os.path.exists(list_file) and os.path.getsize(list_file) > 32)
        c.local("kill", name)
        size = os.path.getsize(list_file)
        c.local("start", name)
        self.wait_for("it is known after the restart", 20, lambda: self.damage(name)["damaged_replicas"] > 0)
        for other in ("broker-1", "broker-3"):
            c.local("start", other)
        self.put_more("after the restart")
        self.wait_for("it is repaired", 40, lambda: self.damage(name)["damaged_replicas"] == 0)
        self.lead(name)
        self.read_all("from the broker with known holes")
        # a list that is damaged itself is not believed, and stops nobody
        c.local("kill", name)
        with open(list_file, "wb") as file:
            file.write(b"nonsense" * 9)
        c.local("start", name)
        self.put_more("after a damaged list")
        c.wait_in_sync(STREAM)
        return f"{(size - 32) // 32} holes"

    def by_scrubber(self):
        """Nobody reads: the scrubber finds it, also behind a restart, and replicas compare their segments."""
        before = {b: self.damage(b) for b in ("broker-1", "broker-2", "broker-3")}
        paths = self.segments("broker-2")[1::5]
        for path in paths:
            self.flip(path, os.path.getsize(path) // 2, 3)
        self.wait_for("the scrubber finds and repairs it", 30, lambda: self.damage("broker-2")["damage_repaired"] >=
                      before["broker-2"]["damage_repaired"] + len(paths) and self.damage("broker-2")["damaged_replicas"] == 0)
        self.wait_for("a pass ends on every broker", 30, lambda: all(
            self.damage(b)["scrub_passes"] > before[b]["scrub_passes"] for b in before))
        expect(all(self.damage(b)["segments_differ"] == 0 for b in before), "segments differ")
        return f"{len(paths)} pieces"

    def same_bytes(self):
        """After all of that the stopped brokers' disks hold the same."""
        self.cluster.wait_in_sync(STREAM)
        self.cluster.no_reports()
        self.cluster.local("down")
        disks = [self.cluster.inspect(f"broker-{i}") for i in (1, 2, 3)]
        for shard, row in disks[0].items():
            for other in disks[1:]:
                expect(not row["corrupt"] and row["sha256"] == other[shard]["sha256"],
                       f"shard {shard}: replicas differ: {row} {other[shard]}")
        return f"{len(disks[0])} shards"


class Recovery:
    """Two of three disks are gone; the survivor lacks what only they had."""

    def __init__(self, cluster):
        self.cluster = cluster
        cluster.create("half", 1)
        self.old = [f"old {i}" for i in range(200)]
        self.put(self.old)
        cluster.wait_in_sync("half")

    def put(self, lines, check=True):
        return self.cluster.run("weir", "put", "half", "--key", "k", "--give-up", "20s",
                                stdin="".join(line + "\n" for line in lines), check=check)

    def leader(self):
        return self.cluster.shards("half")[0]["leader"]

    def wait_for(self, what, seconds, condition):
        end = time.monotonic() + seconds
        while not condition():
            expect(time.monotonic() < end, f"not within {seconds} s: {what}")
            time.sleep(0.2)

    def lose_two(self):
        """Records that only two brokers have are lost with their disks: the shard stops, and says so."""
        c = self.cluster
        refused = c.run("weirctl", "shard", "force-recover", "half", "0", "--survivor", "broker-1", "--accept-loss", check=False)
        expect(refused.returncode != 0 and "a majority" in refused.stderr, f"not refused: {refused.stderr}")
        c.local("stop", "broker-1")
        self.wait_for("another leader", 20, lambda: self.leader() not in (None, "broker-1"))
        self.put([f"lost {i}" for i in range(100)])
        for broker in ("broker-2", "broker-3"):
            c.local("kill", broker)
        c.local("cont", "broker-1")
        time.sleep(2)
        insist = c.run("weirctl", "shard", "force-recover", "half", "0", "--survivor", "broker-1", "--accept-loss", check=False)
        expect(insist.returncode != 0 and "may come back" in insist.stderr, f"not refused: {insist.stderr}")
        for broker in ("broker-2", "broker-3"):
            shutil.rmtree(os.path.join(c.dir, broker, "data"))
            c.local("start", broker)
        self.wait_for("all brokers are back", 20, lambda: all(
            row["session"] and row["alive"] for row in c.json("weirctl", "broker", "list")["brokers"]))
        time.sleep(2)
        expect(self.leader() in (None, "", "none"), f"the shard is led by {self.leader()} without a majority")

    def recover(self):
        """The operator accepts the loss: the shard goes on, readers are told, three replicas are there again."""
        c = self.cluster
        for words, sentence in ((["--survivor", "broker-1"], "--accept-loss"), (["--survivor", "broker-2", "--accept-loss"], "lost its disk")):
            refused = c.run("weirctl", "shard", "force-recover", "half", "0", *words, check=False)
            expect(refused.returncode != 0 and sentence in refused.stderr, f"{words}: {refused.stderr}")
        said = c.run("weirctl", "shard", "force-recover", "half", "0", "--survivor", "broker-1", "--accept-loss").stdout
        expect("are lost" in said, said)
        new = [f"new {i}" for i in range(200)]
        self.put(new)
        got = c.run("weir", "get", "half", check=False)
        expect(got.stdout.splitlines() == self.old + new, f"{len(got.stdout.splitlines())} lines, not what it should be")
        expect("forced recovery" in got.stderr, f"the reader is not told: {got.stderr}")
        self.wait_for("three replicas", 40, lambda: len(c.shards("half")[0]["replicas"]) == 3 and
                      all(r["in_sync"] for r in c.shards("half")[0]["replicas"]))
        c.run("weirctl", "leader", "move", "half", "0", "broker-3")
        expect(c.run("weir", "get", "half", check=False).stdout.splitlines() == self.old + new, "broker-3 has something else")

    def equal(self):
        """The three replicas hold the same bytes."""
        self.cluster.wait_in_sync("half")
        self.cluster.no_reports()
        self.cluster.local("down")
        rows = [self.cluster.inspect(f"broker-{i}")["1-0"] for i in (1, 2, 3)]
        expect(all(row["sha256"] == rows[0]["sha256"] for row in rows), f"replicas differ: {rows}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--only", choices=["damage", "recovery"])
    arguments = parser.parse_args()
    failed = 0
    if arguments.only != "recovery":
        with Cluster(arguments.bin, settings=SETTINGS + ["scrub-period=6s"]) as cluster:
            tests = Repair(cluster)
            failed += run_all([("readers find damage, and get right bytes", tests.by_readers),
                               ("two brokers with damage in one segment", tests.two_damaged),
                               ("the scrubber finds it alone", tests.by_scrubber),
                               ("the next leader is damaged", tests.next_leader),
                               ("known damage outlives a restart", tests.known_at_start),
                               ("all disks hold the same bytes", tests.same_bytes)])
    if arguments.only != "damage":
        with Cluster(arguments.bin) as cluster:
            tests = Recovery(cluster)
            failed += run_all([("two of three disks are lost", tests.lose_two),
                               ("forced recovery", tests.recover),
                               ("the replicas are equal again", tests.equal)])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
