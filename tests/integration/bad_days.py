#!/usr/bin/env python3
"""Brokers that are alive and should not lead: one whose disk has become slow, and one whose clock is wrong. Their leaderships
move away without a loss, and records are stamped with cluster time throughout.

usage: bad_days.py --bin DIR [--only NAME]"""
import argparse
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time

from cluster import TREE, Cluster, expect, run_all

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
SHARDS = 12
SLOW_MS = 1000  # a sync; far more than ten times what a busy machine's take


def wrap_programs(directory, bin_dir, work):
    """A broker's disk becomes slow when WORK/broker-N/slow exists; its clock is as WORK/broker-N/clock says."""
    os.mkdir(directory)
    library = os.path.join(work, "bad_disk.so")
    subprocess.run(["cc", "-O1", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library,
                    os.path.join(TREE, "tests", "support", "bad_disk.c"), "-ldl", "-lpthread"], check=True)
    for name in os.listdir(bin_dir):
        if name != "weir-broker":
            os.symlink(os.path.join(bin_dir, name), os.path.join(directory, name))
    for broker in (1, 2, 3):
        own = os.path.join(work, f"broker-{broker}")
        os.makedirs(os.path.join(own, "keep"))
        set_clock(work, f"broker-{broker}", "+0")
    path = os.path.join(directory, "weir-broker")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"""#!/usr/bin/env bash
set -eu
id=$(sed -n 's/^id = //p' "$2") # --config FILE
own={work}/broker-$id
data=$(sed -n 's/^data-dir = //p' "$2")
mkdir -p "$data"
export BAD_DISK_ROOT="$data" BAD_DISK_LOG="$own/log" BAD_DISK_KEEP="$own/keep" BAD_DISK_CONTROL="$own" BAD_DISK_SLOW_MS={SLOW_MS}
export FAKETIME_TIMESTAMP_FILE="$own/clock" FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 FAKETIME_CACHE_DURATION=1
preload={library}
[ ! -e {FAKETIME} ] || preload="$preload {FAKETIME}"
LD_PRELOAD="$preload" exec "{bin_dir}/weir-broker" "$@" --io-backend threads
""")
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


def set_clock(work, broker, text):
    path = os.path.join(work, broker, "clock")
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(text + "\n")
    os.rename(path + ".new", path)


class Load:
    """`weir put` with some lines a second, until the block ends."""

    def __init__(self, cluster, stream, rate=100):
        self.cluster, self.stream, self.rate, self.count = cluster, stream, rate, 0
        self.over = threading.Event()

    def __enter__(self):
        self.put = subprocess.Popen(["weir", "put", self.stream, "--key-field", "1", "--quiet"], env=self.cluster.env, text=True,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def run(self):
        while not self.over.is_set():
            for _ in range(max(1, self.rate // 10)):
                self.put.stdin.write(f"key-{self.count} {self.count} {time.time():.3f}\n")
                self.count += 1
            self.put.stdin.flush()
            time.sleep(0.1)

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        said = self.put.communicate(timeout=90)[0]
        expect(self.put.returncode == 0, f"weir put exited {self.put.returncode}: {said[-400:]}")


class BadDays:
    def __init__(self, cluster, work):
        self.cluster, self.work = cluster, work

    def broker(self, name):
        return next(b for b in self.cluster.json("weirctl", "broker", "list")["brokers"] if b["name"] == name)

    def led(self, stream, name):
        return [s["id"] for s in self.cluster.shards(stream) if s["leader"] == name]

    def wait(self, condition, seconds, sentence):
        end = time.monotonic() + seconds
        while not condition():
            expect(time.monotonic() < end, f"{sentence}, {seconds} s later")
            time.sleep(0.2)

    def victim(self, stream):
        """Who leads most of it."""
        leaders = [s["leader"] for s in self.cluster.shards(stream)]
        return max(set(leaders), key=leaders.count)

    def records(self, stream, count):
        rows = [json.loads(line) for line in
                self.cluster.run("weir", "get", stream, "--from", "trim-horizon", "--json").stdout.splitlines()]
        expect(len(rows) == count, f"{stream}: {len(rows)} of {count} records")
        return rows

    def others_lead(self, stream, name, why):
        """It says why; its leaderships go, one after another; and elections pass it over, as long as that lasts."""
        self.wait(lambda: self.broker(name)["unfit_to_lead"] == why, 40, f"{name} is not '{why}'")
        led, begin = self.led(stream, name), time.monotonic()
        self.wait(lambda: not self.led(stream, name), 60, f"{name} leads still")
        expect(len(led) < 3 or time.monotonic() - begin > 1, f"{len(led)} leaderships moved in {time.monotonic() - begin:.1f} s")
        shown = self.cluster.run("weirctl", "broker", "list").stdout
        expect(why in shown, f"broker list does not show '{why}': {shown}")
        self.cluster.run("weirctl", "leader", "balance", check=False)
        expect(not self.led(stream, name), f"{name} leads again although it is '{why}'")
        return f"{len(led)} leaderships moved in {time.monotonic() - begin:.1f} s"

    def slow_disk(self):
        stream = "slow-disk"
        self.cluster.create(stream, SHARDS)
        self.cluster.wait_in_sync(stream)
        name = self.victim(stream)
        with Load(self.cluster, stream) as load:
            time.sleep(3)
            expect(self.broker(name)["unfit_to_lead"] == "", "a broker with a quick disk is called slow")
            open(os.path.join(self.work, name, "slow"), "w", encoding="ascii").close()
            said = self.others_lead(stream, name, "slow disk")
            os.unlink(os.path.join(self.work, name, "slow"))
        self.cluster.wait_in_sync(stream)
        self.records(stream, load.count)
        self.cluster.local("term", name)
        self.cluster.local("start", name)
        self.wait(lambda: self.broker(name)["session"] and self.broker(name)["unfit_to_lead"] == "", 30, f"{name} is slow still")
        return said

    def clock(self, text, off_ms):
        stream = "clock" + text.replace("+", "-ahead-").replace("-", "-behind-", 1 if text[0] == "-" else 0)
        self.cluster.create(stream, SHARDS)
        self.cluster.wait_in_sync(stream)
        name = self.victim(stream)
        with Load(self.cluster, stream) as load:
            time.sleep(1)
            set_clock(self.work, name, text)
            said = self.others_lead(stream, name, "clock off")
            offset = self.broker(name)["clock_offset_ms"]
            expect(abs(offset - off_ms) < 5000, f"its clock is said to be off by {offset} ms")
            set_clock(self.work, name, "+0")
        worst = 0
        for row in self.records(stream, load.count):
            late = row["arrival_ms"] / 1000 - float(row["data"].split()[2])
            expect(-1 < late < 10, f"a record was stamped {late:.1f} s after it was sent: {row}")
            worst = max(worst, -late)
        self.cluster.local("term", name)
        self.cluster.local("start", name)
        self.cluster.wait_in_sync(stream)
        return f"{said}; no record is stamped more than {worst:.2f} s early"

    def clock_ahead(self):
        return self.clock("+1h", 3600000)

    def clock_behind(self):
        return self.clock("-1h", -3600000)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--only")
    arguments = parser.parse_args()
    work = tempfile.mkdtemp(prefix="weir-bad-days-")
    try:
        programs = os.path.join(work, "bin")
        wrap_programs(programs, os.path.abspath(arguments.bin), work)
        with Cluster(programs) as cluster:
            days = BadDays(cluster, work)
            tests = [("a disk that has become slow", days.slow_disk)]
            if os.path.exists(FAKETIME):
                tests += [("a clock that is an hour ahead", days.clock_ahead), ("a clock that is an hour behind", days.clock_behind)]
            else:
                print("skipped: clocks: libfaketime is not there")
            if arguments.only:
                tests = [(name, test) for name, test in tests if arguments.only in test.__name__]
            result = run_all(tests + [("no process reports a fault of ours", cluster.no_reports)])
            if result:
                cluster.show_logs()
        return result
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
