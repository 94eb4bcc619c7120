#!/usr/bin/env python3
"""What the cluster moves by itself: hot shards that one broker leads are spread, a broker that was added gets replicas, all under
load and without a loss; what is switched off is only told. And after the restore of a backup no shard's number is used twice.

usage: balance.py --bin DIR"""
import argparse
import json
import os
import shutil
import sys
import time

import moves
from cluster import Cluster, expect, run_all
from moves import SHARDS, STREAM, Moves

SPREAD_S, FILLED_S = 30, 40


class Balance(Moves):
    def set(self, **settings):
        for key, value in settings.items():
            self.cluster.run("weirctl", "balance", "set", key.replace("_", "-"), value)

    def status(self):
        return self.cluster.json("weirctl", "balance", "status")

    def leads(self):
        leaders = [shard["leader"] for shard in self.cluster.shards(STREAM)]
        return [leaders.count(f"broker-{n + 1}") for n in range(self.cluster.brokers)]

    def all_to_one(self):
        for number, shard in enumerate(self.cluster.shards(STREAM)):
            if shard["leader"] != "broker-1":
                self.cluster.run("weirctl", "leader", "move", STREAM, str(number), "broker-1")
        expect(self.leads()[0] == SHARDS, f"broker-1 was to lead all: {self.leads()}")

    # -- the tests ------------------------------------------------------------------------------------

    def bad_orders(self):
        for words, reason in [(["set", "leader-threshold", "1"], "from 5 to 1000"), (["set", "speed", "3"], "no setting speed"),
                              (["set", "interval", "soon"], "a time such as"), (["set", "leader-moves", "many"], "neither a number"),
                              (["on", "everything"], "leaders, replicas or all")]:
            result = self.cluster.run("weirctl", "balance", *words, check=False)
            expect(result.returncode != 0 and reason in result.stderr,
                   f"{' '.join(words)} exited {result.returncode}: {result.stdout}{result.stderr}")

    def switched_off(self):
        self.cluster.run("weirctl", "balance", "off", "all")
        self.set(interval="1s", leader_lasts="2s", rest="1s", replica_lasts="2s")
        self.all_to_one()
        self.wait_for("it is told what would move", 20,
                      lambda: self.status()["leaders"]["moves"] and "switched off" in self.status()["leaders"]["state"])
        time.sleep(3)
        expect(self.leads()[0] == SHARDS, f"it is off, and moved: {self.leads()}")

    def hot_shards_spread(self):
        before, begin = self.status()["leaders"]["gap_percent"], time.monotonic()

        def spread():
            self.cluster.run("weirctl", "balance", "on", "leaders")
            self.wait_for("each broker leads its share", SPREAD_S, lambda: min(self.leads()) >= SHARDS // self.cluster.brokers)
            return time.monotonic() - begin
        took, gap = self.gap_during(spread)
        moved = self.status()["leaders"]["moved"]
        time.sleep(5)
        after = self.status()["leaders"]
        expect(after["moved"] <= SHARDS, f"{after['moved']} moves of {SHARDS} leaderships, {moved} to begin with: {after}")
        log = self.cluster.log(self.cluster.active_controller())
        expect("its leadership goes from broker-1" in log, "no line of the log says what was decided")
        there = [shard["leader"] for shard in self.cluster.shards(STREAM)]
        self.cluster.run("weirctl", "leader", "balance")
        now = [shard["leader"] for shard in self.cluster.shards(STREAM)]
        undone = [pair for pair in zip(there, now) if pair[0] not in ("broker-1", pair[1])]
        expect(not undone, f"`leader balance` undid what was balanced: {undone}")
        return (f"{moved} moves in {took:.1f} s: {before} % apart before, {after['gap_percent']} % after; longest gap in a shard's "
                f"acknowledged writes {gap:.0f} ms")

    def a_new_broker_is_filled(self):
        self.cluster.local("add")
        self.cluster.brokers += 1
        self.set(rest="1s")
        begin = time.monotonic()

        def fill():
            self.cluster.run("weirctl", "balance", "on", "replicas")
            self.wait_for("broker-4 has its share of zone a", FILLED_S,
                          lambda: self.plan(4)["replicas"] >= SHARDS // 2 - 1 and self.whole())
            return time.monotonic() - begin
        took, gap = self.gap_during(fill)
        moved = self.status()["replicas"]["moved"]
        expect(moved <= SHARDS // 2 + 1, f"{moved} moves of replicas for one broker")
        return f"{self.plan(4)['replicas']} replicas by {moved} moves in {took:.1f} s; longest gap {gap:.0f} ms"


def numbers_of(cluster):
    return sorted(int(s["id"].rpartition("-")[2]) for s in cluster.shards("kept"))


def restored_numbers(bin_dir):
    """Split after the backup; the older state comes back; a split again must not give out the lost numbers."""
    with Cluster(bin_dir, settings=("quarantine-after=2s",)) as c:
        c.create("kept", 1)
        c.run("weir", "put", "kept", stdin="".join(f"old {i}\n" for i in range(100)))
        file = os.path.join(c.dir, "backup")
        c.run("weirctl", "controller", "backup", "--out", file)
        c.run("weirctl", "shard", "split", "kept", "0")
        c.run("weir", "put", "kept", stdin="".join(f"lost {i}\n" for i in range(100)))
        expect(numbers_of(c) == [0, 1, 2], f"{c.shards('kept')}")
        c.wait_in_sync("kept")
        for i in (1, 2, 3):
            c.local("kill", f"controller-{i}")
            shutil.rmtree(os.path.join(c.dir, f"controller-{i}", "data"))
            os.mkdir(os.path.join(c.dir, f"controller-{i}", "data"))
            with open(os.path.join(c.dir, f"controller-{i}", "config"), "a", encoding="utf-8") as config:
                config.write(f"restore-file = {file}\n")
        c.local("kill", "broker-3")
        for i in (1, 2, 3):
            c.local("start", f"controller-{i}")

        def waits():
            result = c.run("weirctl", "balance", "status", "--json", check=False)
            return [] if result.returncode != 0 else json.loads(result.stdout)["restored_wait"]
        end = time.monotonic() + 40
        while waits() != [3]:
            expect(time.monotonic() < end, f"only broker-3 should be missing: {waits()}")
            time.sleep(0.3)
        refused = c.run("weirctl", "shard", "split", "kept", "0", check=False)
        expect(refused.returncode != 0 and "broker-3 must tell first" in refused.stderr, f"split: {refused}")
        c.local("start", "broker-3")
        end = time.monotonic() + 40
        while c.json("weirctl", "balance", "status")["restored_wait"]:
            expect(time.monotonic() < end, "broker-3 is back, and has not told what it holds")
            time.sleep(0.3)
        c.run("weirctl", "shard", "split", "kept", "0")
        numbers = numbers_of(c)
        open_now = [s["id"][-1] for s in c.shards("kept") if s["takes_records"]]
        expect(numbers == [0, 1, 2, 3, 4] and open_now == ["3", "4"], f"numbers were used again: {c.shards('kept')}")
        c.run("weir", "put", "kept", stdin="".join(f"new {i}\n" for i in range(100)))
        got = c.run("weir", "get", "kept", "--from", "trim-horizon").stdout.splitlines()
        wanted = sorted([f"old {i}" for i in range(100)] + [f"new {i}" for i in range(100)])
        expect(sorted(got) == wanted, f"{len(got)} lines; those that were lost are not among them: {sorted(set(got) ^ set(wanted))[:5]}")
        end = time.monotonic() + 30
        while not all(b["quarantined"] >= 2 for b in c.json("weirctl", "broker", "list")["brokers"]):
            expect(time.monotonic() < end, "the lost children are not in quarantine")
            time.sleep(0.3)
        for b in c.json("weirctl", "broker", "list")["brokers"]:
            expect(b["reclaimed"] == 0, f"{b['name']} thinks that somebody wants them again")
        c.no_reports()
        return f"shards {numbers}; the lost children lie in quarantine"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    arguments = parser.parse_args()
    with Cluster(arguments.bin, settings=moves.SMALL) as cluster:
        b = Balance(cluster)
        code = run_all([("bad orders", b.bad_orders), ("what is switched off is only told", b.switched_off),
                        ("hot shards spread", b.hot_shards_spread), ("a new broker is filled", b.a_new_broker_is_filled),
                        ("nothing is lost", b.nothing_lost), ("the replicas are equal", b.replicas),
                        ("no number twice after a restore", lambda: restored_numbers(arguments.bin))])
    return code


if __name__ == "__main__":
    sys.exit(main())
