#!/usr/bin/env python3
"""Replicas and leaderships move under load, and nothing is lost: a broker is added and evened out, leaderships move on
demand and with a clean shutdown, a broker is drained and removed, a dead one without its disk is replaced by itself.

Numbered lines are put all the while. At the end every line was acknowledged, is there exactly once and in order, and the
three replicas of every shard hold the same bytes.

usage: moves.py --bin DIR"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

from cluster import Cluster, Failed, expect, run_all
from failures import KEYS, AckWatcher, Campaign

SHARDS = 8
STREAM = "moving"
LINES_A_TICK, TICK_S = 12, 0.02
GRACE_S = 3
SMALL = ("segment-bytes=1MiB", "ring-bytes=4MiB", "journal-file-bytes=8MiB", "block-bytes=256KiB")


class Load(threading.Thread):
    """Lines with keys and ranks, as failures.py writes them, until it is told to stop."""

    def __init__(self, cluster, ack_path):
        super().__init__(daemon=True)
        self.text, self.stopping = [], False
        self.put = subprocess.Popen(["weir", "put", STREAM, "--key-field", "1", "--ack-log", ack_path], stdin=subprocess.PIPE,
                                    env=cluster.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self):
        while not self.stopping and self.put.poll() is None:
            lines = []
            for _ in range(LINES_A_TICK):
                i = len(self.text)
                self.text.append(f"key-{i % KEYS:04d} {i // KEYS} line {i} {'x' * (800 + i % 797)}")
                lines.append(self.text[-1] + "\n")
            try:
                self.put.stdin.write("".join(lines).encode())
                self.put.stdin.flush()
            except BrokenPipeError:
                return
            time.sleep(TICK_S)

    def stop(self):
        self.stopping = True
        self.join(10)
        said = self.put.communicate(timeout=60)[0].decode()
        expect(self.put.returncode == 0, f"weir put exited {self.put.returncode}: {said[-500:]}")


class Moves:
    def __init__(self, cluster):
        self.cluster = cluster
        cluster.create(STREAM, SHARDS)
        self.acks = os.path.join(cluster.dir, "acks")
        self.watcher = AckWatcher(self.acks)
        self.load = Load(cluster, self.acks)
        self.watcher.start()
        self.load.start()

    def plan(self, broker):
        plans = self.cluster.json("weirctl", "moves", "list")["brokers"]
        return next(plan for plan in plans if plan["broker"] == broker)

    def gap_during(self, do):
        """Does it, and tells the longest gap in acknowledged writes of a shard meanwhile."""
        self.watcher.gap.clear()
        said = do()
        time.sleep(0.3)
        return said, self.watcher.longest_gap_ms()

    def wait_for(self, what, seconds, condition):
        end = time.monotonic() + seconds
        while not condition():
            expect(time.monotonic() < end, f"not within {seconds} s: {what}")
            time.sleep(0.2)

    def whole(self):
        moves = self.cluster.json("weirctl", "moves", "list")
        return not moves["moves"] and moves["under_replicated"] == 0 and not moves["rebalancing"]

    # -- the tests ------------------------------------------------------------------------------------

    def leaderships(self):
        """Each shard is led by somebody else, then all go back."""
        pauses, gaps = [], []
        for number, shard in enumerate(self.cluster.shards(STREAM)):
            other = next(r["broker"] for r in shard["replicas"] if r["broker"] != shard["leader"])
            moved, gap = self.gap_during(
                lambda n=number, o=other: self.cluster.json("weirctl", "leader", "move", STREAM, str(n), o))
            expect(f"broker-{moved['broker']}" == other, f"{other} was to lead: {moved}")
            pauses.append(moved["pause_ms"])
            gaps.append(gap)
        expect(sorted(pauses)[len(pauses) // 2] < 500, f"moves of leaderships take long: {pauses} ms")
        self.cluster.run("weirctl", "leader", "balance")
        pauses.sort()
        return f"pauses of {pauses} ms; longest gap in a shard's acknowledged writes {max(gaps):.0f} ms"

    def bad_orders(self):
        """What would be unsafe, or makes no sense, is refused with the reason."""
        for words, reason in [(["broker", "drain", "broker-1"], "add a broker"), (["broker", "remove", "broker-1"], "drain it"),
                              (["broker", "replace", "broker-1"], "is alive"), (["broker", "drain", "broker-99"], "no broker-99"),
                              (["broker", "label", "broker-1", "zone=b"], "share a zone"),
                              (["broker", "drain", "one"], "broker-4"), (["leader", "move", STREAM, "0", "broker-99"], "no replica"),
                              (["leader", "move", STREAM, "99", "broker-1"], "no such shard")]:
            result = self.cluster.run("weirctl", *words, check=False)
            expect(result.returncode != 0 and reason in result.stderr,
                   f"{' '.join(words)} exited {result.returncode}: {result.stdout}{result.stderr}")

    def clean_stop(self):
        """A leader that is told to end hands over first: nobody waits for a failover."""
        name = next(iter({s["leader"] for s in self.cluster.shards(STREAM)}))
        _, gap = self.gap_during(lambda: self.cluster.local("term", name))
        log = self.cluster.log(name)
        expect("stops, leading 0 shards" in log, f"{name} ended as a leader")
        self.cluster.local("start", name)
        self.cluster.wait_in_sync(STREAM)
        self.cluster.run("weirctl", "leader", "balance")
        return f"longest gap in a shard's acknowledged writes {gap:.0f} ms"

    def add_and_rebalance(self):
        name = self.cluster.local("add").strip().splitlines()[-1]
        self.cluster.brokers += 1
        begin = time.monotonic()
        impatient = self.cluster.run("weirctl", "rebalance", "--timeout", "300ms", check=False)
        waited = time.monotonic() - begin
        expect(impatient.returncode == 4 and waited < 15,
               f"rebalance --timeout 300ms ended after {waited:.1f} s with {impatient.returncode}: {impatient.stderr}")
        _, gap = self.gap_during(lambda: self.cluster.run("weirctl", "rebalance", "--timeout", "100s"))
        took = time.monotonic() - begin
        self.wait_for("rebalancing ends", 30, self.whole)
        counts = [self.plan(i + 1)["replicas"] for i in range(self.cluster.brokers)]
        expect(sum(counts) == 3 * SHARDS and counts[3] == SHARDS // 2 and counts[0] == SHARDS // 2,
               f"{name} shares zone a with broker-1, so each should have half of its replicas: {counts}")
        return f"{counts} replicas, in {took:.1f} s, longest gap {gap:.0f} ms"

    def drain_and_remove(self):
        begin = time.monotonic()
        _, gap = self.gap_during(lambda: self.cluster.run("weirctl", "broker", "drain", "broker-1"))
        took = time.monotonic() - begin
        expect(self.plan(1)["replicas"] == 0, f"broker-1 is not empty: {self.plan(1)}")
        self.cluster.run("weirctl", "broker", "drain", "broker-1")
        self.wait_for("broker-1 has deleted its replicas", 20, lambda: self.plan(1)["drops"] == 0)
        self.cluster.run("weirctl", "broker", "remove", "broker-1")
        self.cluster.run("weirctl", "broker", "remove", "broker-1")

        def ended():
            try:
                self.cluster.local("pid", "broker-1")
                return False
            except Failed:
                return True
        self.wait_for("broker-1 ends", 20, ended)
        expect("was removed from the cluster" in self.cluster.log("broker-1"), "broker-1 does not say why it ended")
        result = self.cluster.run("weirctl", "broker", "drain", "broker-4", check=False)
        expect(result.returncode != 0 and "add a broker" in result.stderr, f"draining the last of zone a: {result.stderr}")
        return f"in {took:.1f} s, longest gap {gap:.0f} ms"

    def replaced(self):
        """A broker is killed and its disk is gone: after the grace period its replicas are made anew elsewhere."""
        name = self.cluster.local("add").strip().splitlines()[-1]
        self.cluster.brokers += 1
        self.cluster.run("weirctl", "broker", "label", name, "zone=c")
        victim, pid = "broker-3", int(self.cluster.local("pid", "broker-3"))
        begin = time.monotonic()

        def kill():
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)
            shutil.rmtree(os.path.join(self.cluster.dir, victim, "data"))
        _, gap = self.gap_during(kill)
        self.wait_for("the replicas of broker-3 are elsewhere", 40,
                      lambda: self.plan(3)["replicas"] == 0 and self.whole())
        took = time.monotonic() - begin
        expect(took >= GRACE_S, f"replaced after {took:.1f} s, before the grace period was over")
        expect(self.plan(5)["replicas"] == SHARDS, f"{name} has not got them: {self.plan(5)}")
        return f"{took:.1f} s after it died, longest gap {gap:.0f} ms"

    def empty_disk(self):
        """A broker is back with an empty disk: it gets its replicas again at once."""
        victim, pid = "broker-2", int(self.cluster.local("pid", "broker-2"))
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        shutil.rmtree(os.path.join(self.cluster.dir, victim, "data"))
        begin = time.monotonic()
        self.cluster.local("start", victim)
        self.wait_for("broker-2 has its replicas again", 40, lambda: self.plan(2)["replicas"] == SHARDS and self.whole())
        self.cluster.wait_in_sync(STREAM)
        return f"after {time.monotonic() - begin:.1f} s"

    def nothing_lost(self):
        self.load.stop()
        self.watcher.done = True
        self.watcher.join(10)
        campaign = Campaign.__new__(Campaign)
        campaign.cluster, campaign.text, campaign.lines = self.cluster, self.load.text, len(self.load.text)
        campaign.check(STREAM, self.acks)
        return f"{campaign.lines} lines"

    def replicas(self):
        """Three replicas of every shard hold the same bytes, and nobody else has any."""
        self.cluster.wait_in_sync(STREAM)
        self.wait_for("nothing is left to be deleted", 20,
                      lambda: not any(p["drops"] for p in self.cluster.json("weirctl", "moves", "list")["brokers"]
                                      if p["down_since_ms"] == 0 and p["mode"] != "removed"))
        self.cluster.local("down")
        disks = {}
        for i in range(self.cluster.brokers):
            if os.path.exists(os.path.join(self.cluster.dir, f"broker-{i + 1}", "data", "identity")):
                disks[f"broker-{i + 1}"] = self.cluster.inspect(f"broker-{i + 1}")
        shards = sorted({shard for disk in disks.values() for shard in disk})
        expect(len(shards) == SHARDS, f"{len(shards)} shards on the disks")
        for shard in shards:
            held = {broker: disk[shard] for broker, disk in disks.items() if shard in disk}
            expect(len(held) == 3, f"shard {shard} is on {sorted(held)}")
            facts = {(row["log_start"], row["end"], row["sha256"], row["bytes"]) for row in held.values()}
            expect(len(facts) == 1, f"the replicas of shard {shard} differ: {held}")
        return f"{len(shards)} shards, three equal replicas each"


def bandwidth(bin_dir):
    """A replica that begins empty is fed no faster than copy-bandwidth, but for what the leader still has in memory."""
    settings = SMALL + ("copy-bandwidth=2MiB",)
    megabytes, ring, rate = 16, 4, 2
    with Cluster(bin_dir, settings=settings) as cluster:
        cluster.create("paced", 1)
        cluster.run("weir", "put", "paced", stdin="".join(f"{i} {'x' * 1014}\n" for i in range(megabytes * 1024)))
        cluster.wait_in_sync("paced")
        shard = cluster.shards("paced")[0]
        victim = next(f"broker-{n}" for n in (1, 2, 3) if f"broker-{n}" != shard["leader"])
        cluster.local("kill", victim)
        shutil.rmtree(os.path.join(cluster.dir, victim, "data"))
        end = time.monotonic() + 20
        while all(r["in_sync"] for r in cluster.shards("paced")[0]["replicas"]):
            expect(time.monotonic() < end, f"{victim} is dead, and its replica in sync")
            time.sleep(0.1)
        begin = time.monotonic()
        cluster.local("start", victim)
        cluster.wait_in_sync("paced")
        took, least = time.monotonic() - begin, (megabytes - ring) / rate - 1
        expect(took > least, f"{megabytes} MiB were copied in {took:.1f} s, with {rate} MiB/s: at least {least:.1f} s")
    return f"{megabytes} MiB with {rate} MiB/s in {took:.1f} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    arguments = parser.parse_args()
    with Cluster(arguments.bin, settings=SMALL, controller_settings=(f"replace-after={GRACE_S}s",)) as cluster:
        moves = Moves(cluster)
        result = run_all([("unsafe orders are refused", moves.bad_orders),
                          ("leaderships move on demand", moves.leaderships),
                          ("a leader ends cleanly", moves.clean_stop),
                          ("a fourth broker is added and evened out", moves.add_and_rebalance),
                          ("a broker is drained and removed", moves.drain_and_remove),
                          ("a dead broker without its disk is replaced", moves.replaced),
                          ("a broker is back with an empty disk", moves.empty_disk),
                          ("nothing is lost", moves.nothing_lost),
                          ("replicas are byte-equal", moves.replicas),
                          ("no process reports a fault of ours", cluster.no_reports),
                          ("copies keep to their bandwidth", lambda: bandwidth(arguments.bin))])
        moves.load.stopping = True
        if moves.load.put.poll() is None:
            moves.load.put.kill()
        if result:
            cluster.show_logs()
    return result


if __name__ == "__main__":
    sys.exit(main())
