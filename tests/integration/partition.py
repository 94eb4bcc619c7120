#!/usr/bin/env python3
"""Links are cut while lines are put: nothing is lost, and writes go on through other leaders before anything is healed.

Every broker lives in a network namespace of its own, joined by a bridge; controllers and clients share the one with the
bridge. A cut drops frames without a word, one way or both: connections stay open and nothing answers. All namespaces
belong to processes of this test and go with them. Needs root and Linux; says "skipped" elsewhere.

usage: partition.py --bin DIR [--lines N] [--only NAME]"""
import argparse
import ctypes
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

from cluster import Cluster, Failed, expect, run_all
from failures import SHARDS, Campaign

HUB = "hub"
NOBODY = "02:00:00:00:00:01"  # a frame for this address is dropped by everyone
LONGEST_GAP_MS = 12000        # a stall of 2 s, an election, the producer's next look; with room for a busy machine


def die_with_parent():
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def ip(*arguments, inside=None):
    prefix = ["nsenter", f"--net=/proc/{inside}/ns/net"] if inside else []
    result = subprocess.run([*prefix, "ip", *arguments], capture_output=True, text=True)
    expect(result.returncode == 0, f"ip {' '.join(arguments)}: {result.stderr}")


class Network:
    """A namespace for each broker, held by a sleeping process, behind a bridge in our own."""

    def __init__(self, brokers):
        self.holders, self.cuts = {}, set()
        ip("link", "set", "lo", "up")
        ip("link", "add", "hub", "type", "bridge", "forward_delay", "0")
        ip("addr", "add", self.address(HUB) + "/24", "dev", "hub")
        ip("link", "set", "hub", "up")
        for broker in range(1, brokers + 1):
            self.add(broker)

    def add(self, broker):
        own = os.readlink("/proc/self/ns/net")
        holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], preexec_fn=die_with_parent)
        self.holders[broker] = holder
        pid = str(holder.pid)
        end = time.monotonic() + 10
        while os.readlink(f"/proc/{pid}/ns/net") == own:
            expect(holder.poll() is None and time.monotonic() < end, "no network namespace can be made")
            time.sleep(0.01)
        ip("link", "add", f"b{broker}", "type", "veth", "peer", "name", "eth0", "netns", pid)
        ip("link", "set", f"b{broker}", "master", "hub", "up")
        ip("link", "set", "lo", "up", inside=pid)
        ip("addr", "add", self.address(broker) + "/24", "dev", "eth0", inside=pid)
        ip("link", "set", "eth0", "up", inside=pid)

    @staticmethod
    def address(who):
        return "10.77.0.1" if who == HUB else f"10.77.0.{10 + who}"

    def side(self, who):
        return ("hub", None) if who == HUB else ("eth0", self.holders[who].pid)

    def cut(self, sender, receiver):
        device, inside = self.side(sender)
        ip("neigh", "replace", self.address(receiver), "lladdr", NOBODY, "dev", device, "nud", "permanent", inside=inside)
        self.cuts.add((sender, receiver))

    def heal(self):
        for sender, receiver in self.cuts:
            device, inside = self.side(sender)
            ip("neigh", "del", self.address(receiver), "dev", device, inside=inside)
        self.cuts.clear()

    def close(self):
        for holder in self.holders.values():
            holder.kill()
            holder.wait()


def wrap_programs(directory, bin_dir, network):
    """Programs under their own names that start the real ones where they belong."""
    os.mkdir(directory)
    for name in os.listdir(bin_dir):
        if name not in ("weir-broker", "weir-controller"):
            os.symlink(os.path.join(bin_dir, name), os.path.join(directory, name))
    holders = " ".join(f"[{broker}]={holder.pid}" for broker, holder in network.holders.items())
    scripts = {
        "weir-controller": f'exec "{bin_dir}/weir-controller" "$@" --listen-host 0.0.0.0\n',
        "weir-broker": f"""declare -A holder=({holders})
id=$(sed -n 's/^id = //p' "$2") # --config FILE
controllers=$(sed -n 's/^controllers = //p' "$2")
host={network.address(HUB)[:-1]}$((10 + id))
exec nsenter --net=/proc/${{holder[$id]}}/ns/net "{bin_dir}/weir-broker" "$@" --listen-host "$host" \\
    --advertised-host "$host" --controllers "${{controllers//127.0.0.1/{network.address(HUB)}}}"
""",
    }
    for name, text in scripts.items():
        path = os.path.join(directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/usr/bin/env bash\nset -eu\n" + text)
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


def number(name):
    return int(name.rsplit("-", 1)[1])


class Partitions:
    def __init__(self, cluster, network, lines):
        self.cluster, self.network = cluster, network
        self.campaign = Campaign(cluster, lines)

    def epochs(self, stream):
        return {shard["id"]: shard["epoch"] for shard in self.cluster.shards(stream)}

    def run(self, test, cuts, must_move=True):
        """`cuts` names (sender, receiver) pairs for a leader and the two others. The put ends before anything heals."""
        def prepare(stream):
            shards = self.cluster.shards(stream)
            self.leader = shards[0]["leader"]
            leader = number(self.leader)
            others = [b for b in range(1, self.cluster.brokers + 1) if b != leader]
            self.led = [shard["id"] for shard in shards if shard["leader"] == self.leader]

            def failure():
                for sender, receiver in cuts(leader, others):
                    self.network.cut(sender, receiver)
            return failure
        try:
            said = self.campaign.put_during(test, prepare)
            moved = [shard for shard in self.cluster.shards(test) if shard["id"] in self.led]
            if must_move:
                expect(all(shard["leader"] not in (None, "", self.leader) for shard in moved),
                       f"still led by {self.leader}, which is cut off: {moved}")
            gap = float(re.search(r"longest gap .* (\d+) ms", said)[1])
            expect(gap < LONGEST_GAP_MS, f"writes stood still: {said}")
            high = max(shard["epoch"] for shard in self.cluster.shards(test))
            expect(high < 20, f"epochs ran away: {self.cluster.shards(test)}")
        finally:
            self.network.heal()
        self.cluster.wait_in_sync(test)
        return said

    def from_followers(self):
        return self.run("cut-from-followers", lambda leader, others: [
            pair for other in others for pair in ((leader, other), (other, leader))])

    def unheard(self):
        return self.run("cut-one-way-out", lambda leader, others: [(leader, other) for other in others])

    def deaf(self):
        return self.run("cut-one-way-in", lambda leader, others: [(other, leader) for other in others])

    def from_everything(self):
        return self.run("cut-from-everything", lambda leader, others: [
            pair for other in others + [HUB] for pair in ((leader, other), (other, leader))])

    def one_follower(self):
        """A majority is left: nobody has to be replaced for it, and nothing stands still."""
        return self.run("cut-from-one-follower", lambda leader, others: [(leader, others[0]), (others[0], leader)],
                        must_move=False)

    def from_controllers(self):
        """Other brokers reach it: it keeps what it leads, and is shown as isolated."""
        stream = "cut-from-controllers"
        self.cluster.create(stream, SHARDS)
        self.campaign.streams.append(stream)
        self.cluster.wait_in_sync(stream)
        leader = self.cluster.shards(stream)[0]["leader"]
        before = self.epochs(stream)
        try:
            self.network.cut(number(leader), HUB)
            self.network.cut(HUB, number(leader))
            time.sleep(6)
            rows = self.cluster.json("weirctl", "broker", "list")["brokers"]
            isolated = [row["name"] for row in rows if row["isolated"]]
            expect(isolated == [leader], f"isolated are said to be {isolated}, not {leader}")
            expect(self.epochs(stream) == before, f"epochs {before} became {self.epochs(stream)}: it was failed over")
        finally:
            self.network.heal()
        self.cluster.wait_in_sync(stream)
        expect(self.epochs(stream) == before, f"epochs {before} became {self.epochs(stream)} when it was back")
        return f"{leader} led on for 6 s, and afterwards"

    def no_majority(self):
        """Nobody reaches anybody for 20 s: epochs must not run away, and afterwards all goes on."""
        stream = "cut-all"
        self.cluster.create(stream, SHARDS)
        self.campaign.streams.append(stream)
        self.cluster.wait_in_sync(stream)
        before = self.epochs(stream)
        brokers = range(1, self.cluster.brokers + 1)
        put = None
        try:
            for a in brokers:
                for b in brokers:
                    if a != b:
                        self.network.cut(a, b)
            put = subprocess.Popen(["weir", "put", stream, "--key-field", "1"], env=self.cluster.env, text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            put.stdin.write("".join(f"key-{i} line {i}\n" for i in range(300)))
            put.stdin.flush()
            time.sleep(20)
            during = self.epochs(stream)
            risen = max(during[shard] - before[shard] for shard in before)
            expect(risen <= 5, f"epochs ran away: {before}, 20 s later {during}")
            alone = sum("no other replica answers" in self.cluster.log(name) for name in self.cluster.names())
            expect(alone == self.cluster.brokers, f"{alone} of {self.cluster.brokers} leaders found out that they are alone")
            self.network.heal()
            said = put.communicate(timeout=60)[0]
            expect(put.returncode == 0, f"weir put exited {put.returncode}: {said[-500:]}")
        finally:
            self.network.heal()
            if put is not None and put.poll() is None:
                put.kill()
                put.wait()
        self.cluster.wait_in_sync(stream)
        count = len(self.cluster.run("weir", "get", stream, "--from", "trim-horizon", "--json").stdout.splitlines())
        expect(count == 300, f"{count} of 300 lines are there")
        return f"epochs rose by {risen} in 20 s"


def inside(arguments):
    network = None
    directory = tempfile.mkdtemp(prefix="weir-partition-")
    try:
        network = Network(3)
        programs = os.path.join(directory, "bin")
        wrap_programs(programs, os.path.abspath(arguments.bin), network)
        with Cluster(programs) as cluster:
            partitions = Partitions(cluster, network, arguments.lines)
            tests = [("leader cut from its followers, not from controllers and clients", partitions.from_followers),
                     ("leader whose followers do not hear it", partitions.unheard),
                     ("leader that does not hear its followers", partitions.deaf),
                     ("leader cut from everything", partitions.from_everything),
                     ("leader cut from one follower", partitions.one_follower),
                     ("leader cut from the controllers, not from its followers", partitions.from_controllers),
                     ("every broker cut from every other", partitions.no_majority)]
            if arguments.only:
                tests = [(name, test) for name, test in tests if arguments.only in test.__name__]
            result = run_all(tests + [("replicas are byte-equal", partitions.campaign.replicas),
                                      ("no process reports a fault of ours", cluster.no_reports)])
            if result:
                cluster.show_logs()
        return result
    finally:
        if network is not None:
            network.close()
        shutil.rmtree(directory, ignore_errors=True)


def skip_reason():
    if os.geteuid() != 0:
        return "needs root to make network namespaces"
    for program in ("ip", "unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"needs the program '{program}'"
    tried = subprocess.run(["unshare", "--net", "ip", "link", "add", "hub", "type", "bridge"], capture_output=True, text=True)
    return f"no bridges in network namespaces here: {tried.stderr.strip()}" if tried.returncode != 0 else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--lines", type=int, default=60000)
    parser.add_argument("--only")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # of the namespace with the bridge
    arguments = parser.parse_args()
    if arguments.inside:
        try:
            return inside(arguments)
        except Failed as problem:
            print(f"FAILED  {problem}\n0 passed, 1 failed")
            return 1
    reason = skip_reason()
    if reason:
        print(f"skipped: {reason}\n0 passed, 0 failed")
        return 0
    command = ["unshare", "--net", sys.executable, os.path.abspath(__file__), "--inside", *sys.argv[1:]]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
