#!/usr/bin/env python3
"""What a cluster does with what should not be: replicas that nobody lists, controllers that differ, disks that fail.

usage: spine.py --bin DIR [--only NAME]"""
import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

from cluster import LOCAL, TREE, Cluster, expect, run_all
from failures import Campaign

RECORDS = 500


def wait_for(what, look, seconds=30):
    """Until look() gives something true; returns it."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        expect(time.monotonic() < end, f"{what}: not within {seconds} s")
        time.sleep(0.2)


def put(cluster, stream, first=0, count=RECORDS):
    cluster.run("weir", "put", stream, "--key-field", "1", stdin="".join(f"k{i % 7} {i}\n" for i in range(first, first + count)))


def count(cluster, stream):
    return len(cluster.run("weir", "get", stream).stdout.splitlines())


def brokers(cluster):
    return cluster.json("weirctl", "broker", "list")["brokers"]


def answers(cluster, *command):
    return cluster.run(*command, check=False, timeout=30).returncode == 0


class Restored:
    """The controller's directory as it was at an earlier time, and back."""

    def __init__(self, cluster):
        self.c = cluster
        self.data = os.path.join(cluster.dir, "controller-1", "data")

    def stop(self):
        for name in self.c.names():
            self.c.local("term", name)

    def start(self):
        for name in self.c.names():
            self.c.local("start", name)
        wait_for("the cluster after its restart", lambda: answers(self.c, "weirctl", "cluster", "status"))

    def keep(self, name):
        shutil.copytree(self.data, os.path.join(self.c.dir, name))

    def take(self, name):
        shutil.rmtree(self.data)
        shutil.copytree(os.path.join(self.c.dir, name), self.data)


def quarantine(bin_dir):
    with Cluster(bin_dir, controllers=1, settings=["quarantine-after=2s"]) as c:
        state = Restored(c)
        c.create("old", 2)
        put(c, "old")
        state.stop()
        state.keep("earlier")
        state.start()
        c.create("new", 2)
        put(c, "new")
        c.wait_in_sync("new")
        state.stop()
        state.keep("later")
        state.take("earlier")
        state.start()
        wait_for("two shards in the quarantine of each broker",
                 lambda: all(b["quarantined"] == 2 and b["unlisted"] == 0 for b in brokers(c)))
        for broker in range(1, 4):
            things = os.listdir(os.path.join(c.dir, f"broker-{broker}", "data", "quarantine"))
            expect(len(things) == 2 and all(".since-" in name for name in things), f"broker-{broker}'s quarantine has {things}")
            expect("moved to" in c.log(f"broker-{broker}"), f"broker-{broker} did not say what it moved")
        text = c.run("weirctl", "broker", "list").stdout
        expect("broker-1: 2 shards or segments in quarantine" in text, f"weirctl broker list says: {text}")
        expect(count(c, "old") == RECORDS, "records of the stream that is listed are missing")
        state.stop()
        state.take("later")
        state.start()
        wait_for("shards that are listed again", lambda: all(b["reclaimed"] == 2 for b in brokers(c)))
        expect("is listed again" in c.log("broker-2"), "broker-2 did not say which shards are listed again")
        expect(all(not s["leader"] for s in c.shards("new")), "a shard without replicas has a leader")
        wait_for("the other stream", lambda: count(c, "old") == RECORDS)
        c.no_reports()
        return "6 replicas moved aside, none deleted, and told of when they were wanted again"


def damaged_row(bin_dir):
    with Cluster(bin_dir, controller_settings=["compare-entries=20"]) as c:
        c.create("steady", 2)
        put(c, "steady")
        bad = c.active_controller()
        with sqlite3.connect(os.path.join(c.dir, bad, "data", "state.db")) as state:
            state.execute("UPDATE streams SET retention_hours = retention_hours + 1")
        state.close()
        made = 0

        def is_gone():
            nonlocal made
            c.run("weirctl", "stream", "create", f"more-{made}", "--shards", "1", check=False)
            made += 1
            return "must be replaced" in c.log(bad)

        wait_for(f"the end of {bad}, whose row was changed", is_gone, 60)

        def status():
            rows = c.json("weirctl", "cluster", "status")["controllers"]
            return rows if any(r["name"] == bad and r["differs"] and r["compared_index"] > 0 for r in rows) and \
                not any(r["name"] != bad and r["differs"] for r in rows) and any(r["state"] == "active" for r in rows) else None

        wait_for("the others' word on it", status)
        text = c.run("weirctl", "controller", "list").stdout
        expect(f"{bad}: its state differs" in text, f"weirctl controller list says: {text}")
        c.run(LOCAL, "start", bad, "--dir", c.dir, check=False)
        wait_for(f"{bad}'s refusal to start", lambda: "differed from the other controllers" in c.log(bad))
        put(c, "steady", RECORDS)
        expect(count(c, "steady") == 2 * RECORDS, "records are missing")
        c.no_reports()
        return f"{bad} was active: gone after {made} more commands, the other two went on"


class DiskOut(Campaign):
    """Writes and syncs of one broker fail from some moment on; its process stays, and its connections."""

    def __init__(self, cluster, lines, directory):
        super().__init__(cluster, lines)
        self.directory = directory

    def leader_out(self):
        def prepare(stream):
            self.down = self.leader_and_follower(stream)[0]
            pid = self.pid(self.down)
            return lambda: open(os.path.join(self.directory, str(pid)), "w", encoding="ascii").close()
        said = self.put_during("disk-out", prepare)
        c = self.cluster
        expect("the disk is out" in c.log(self.down), f"{self.down} did not say that its disk is out")
        state = next(b for b in brokers(c) if b["name"] == self.down)
        expect(state["alive"] and state["disk_state"] == "out", f"weirctl says of {self.down}: {state}")
        for shard in c.shards("disk-out"):
            expect(shard["leader"] and shard["leader"] != self.down, f"{shard['id']} is led by {shard['leader']}")
        pid = self.pid(self.down)
        c.local("kill", self.down)
        os.unlink(os.path.join(self.directory, str(pid)))
        c.local("start", self.down)
        c.wait_in_sync("disk-out")
        return said


def disk_out(bin_dir):
    with tempfile.TemporaryDirectory(prefix="weir-fail-io-") as directory:
        library = os.path.join(directory, "fail_io.so")
        source = os.path.join(TREE, "tests", "support", "fail_io.c")
        subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, capture_output=True)
        os.environ.update(LD_PRELOAD=library, FAIL_IO_DIR=directory)
        try:
            cluster = Cluster(bin_dir, settings=["io-backend=threads"])
            with cluster as c:
                said = DiskOut(c, 50000, directory).leader_out()
                c.no_reports()
                return said
        finally:
            del os.environ["LD_PRELOAD"], os.environ["FAIL_IO_DIR"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    tests = [("replicas that nobody lists go to quarantine", quarantine),
             ("a controller with a damaged row stops", damaged_row),
             ("a leader whose disk is out gives way", disk_out)]
    return run_all([(name, lambda f=function: f(options.bin)) for name, function in tests if options.only in name])


if __name__ == "__main__":
    sys.exit(main())
