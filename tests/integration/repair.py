#!/usr/bin/env python3
"""Damaged segments are repaired from the other replicas and never served: bits flipped in cold files are found by readers
or by the scrubber alone, the damaged broker leads meanwhile, and at the end all replicas hold the same bytes.

usage: repair.py --bin DIR"""
import argparse
import os
import random
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    arguments = parser.parse_args()
    with Cluster(arguments.bin, settings=SETTINGS + ["scrub-period=6s"]) as cluster:
        tests = Repair(cluster)
        return run_all([("readers find damage, and get right bytes", tests.by_readers),
                        ("two brokers with damage in one segment", tests.two_damaged),
                        ("the scrubber finds it alone", tests.by_scrubber),
                        ("all disks hold the same bytes", tests.same_bytes)])


if __name__ == "__main__":
    sys.exit(main())
