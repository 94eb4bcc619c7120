"""A cluster whose every process has a network namespace of its own, and what can be done to it.

Clients live in the namespace with the bridge ("hub"), or beside a broker (run_beside). Addresses of weir-local, which are
on loopback, are translated to those of the namespaces. Links are cut, thinned and delayed with iptables in the namespace
of a process. Everything here belongs to the caller's network and mount namespace and goes with it."""
import glob
import os
import shutil
import signal
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from cluster import TREE, Cluster, Failed, expect  # noqa: E402
from partition import die_with_parent, ip  # noqa: E402

HUB = "10.77.0.1"
# Small files, so that a cell's few megabytes go through the journal's reuse, segments and snapshots.
SETTINGS = ("disk-reserve=48MiB", "journal-file-bytes=2MiB", "journal-files=4", "segment-bytes=512KiB", "ring-bytes=2MiB",
            "block-bytes=512KiB", "shutdown-handover=2s", "scrub-period=5s")
CONTROLLER_SETTINGS = ("lease-term=3s", "snapshot-entries=400", "trailing-entries=100", "compare-entries=200")


def number(name):
    return int(name.rsplit("-", 1)[1])


def address(name):
    return f"10.77.0.{(50 if name.startswith('controller') else 10) + number(name)}"


def run(*command, check=True):
    result = subprocess.run(command, capture_output=True, text=True)
    expect(not check or result.returncode == 0, f"{' '.join(command)}: {result.stderr}")
    return result


def is_there(pid):
    """Whether it still has a thread that may write or hold a lock: the command line goes earlier."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            state = file.read().rsplit(")", 1)[1].split()[0]
        return state not in "ZX" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


class Network:
    """A namespace for each name, held by a sleeping process."""

    def __init__(self, names, base_port):
        self.holders = {}
        ip("link", "set", "lo", "up")
        ip("link", "add", "hub", "type", "bridge", "forward_delay", "0")
        ip("addr", "add", HUB + "/24", "dev", "hub")
        ip("link", "set", "hub", "up")
        with open("/proc/sys/net/ipv4/conf/all/route_localnet", "w", encoding="ascii") as file:
            file.write("1")
        run("iptables", "-w", "-t", "nat", "-A", "POSTROUTING", "-s", "127.0.0.1", "-o", "hub", "-j", "SNAT", "--to", HUB)
        for name in names:
            self.add(name)
            ports = [base_port + number(name)] if name.startswith("controller") else \
                [base_port + more + number(name) for more in (10, 30, 60)]
            for port in ports:
                run("iptables", "-w", "-t", "nat", "-A", "OUTPUT", "-p", "tcp", "-d", "127.0.0.1", "--dport", str(port),
                    "-j", "DNAT", "--to", f"{address(name)}:{port}")

    def add(self, name):
        own = os.readlink("/proc/self/ns/net")
        holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], preexec_fn=die_with_parent)
        self.holders[name] = holder
        end = time.monotonic() + 20
        while os.readlink(f"/proc/{holder.pid}/ns/net") == own:
            expect(holder.poll() is None and time.monotonic() < end, "no network namespace can be made")
            time.sleep(0.01)
        device = name[0] + str(number(name))
        ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        ip("link", "set", device, "master", "hub", "up")
        ip("link", "set", "lo", "up", inside=holder.pid)
        ip("addr", "add", address(name) + "/24", "dev", "eth0", inside=holder.pid)
        ip("link", "set", "eth0", "up", inside=holder.pid)

    def inside(self, name):
        return ["nsenter", f"--net=/proc/{self.holders[name].pid}/ns/net"]

    def rules(self, name, *rule):
        run(*self.inside(name), "iptables", "-w", *rule)

    def drop(self, sender, receiver):
        """What SENDER (a name) says to RECEIVER (a name, or an address) is lost without a word."""
        self.rules(sender, "-A", "OUTPUT", "-d", receiver if receiver[0].isdigit() else address(receiver), "-j", "DROP")

    def deafen(self, receiver, sender):
        self.rules(receiver, "-A", "INPUT", "-s", sender if sender[0].isdigit() else address(sender), "-j", "DROP")

    def split(self, some, others):
        for one in some:
            for other in others:
                self.drop(one, other)
                self.deafen(one, other)

    def isolate(self, name):
        for chain in ("INPUT", "OUTPUT"):
            self.rules(name, "-A", chain, "!", "-i" if chain == "INPUT" else "-o", "lo", "-j", "DROP")

    def lose(self, name, share):
        for chain in ("INPUT", "OUTPUT"):
            self.rules(name, "-A", chain, "!", "-i" if chain == "INPUT" else "-o", "lo", "-m", "statistic", "--mode",
                       "random", "--probability", str(share), "-j", "DROP")

    def queue(self, name):
        self.rules(name, "-A", "INPUT", "!", "-i", "lo", "-j", "NFQUEUE", "--queue-num", "7", "--queue-bypass")

    def heal(self, check=True):
        for name in self.holders:
            run(*self.inside(name), "iptables", "-w", "-F", check=check)

    def close(self):
        for holder in self.holders.values():
            holder.kill()
            holder.wait()
        run("ip", "link", "del", "hub", check=False)
        run("iptables", "-w", "-t", "nat", "-F", check=False)


def wrap_programs(directory, bin_dir, network):
    """Programs under their own names that start the real ones in their namespaces, with the environment that the test
    wrote beside the configuration."""
    os.mkdir(directory)
    for name in os.listdir(bin_dir):
        if name not in ("weir-broker", "weir-controller"):
            os.symlink(os.path.join(bin_dir, name), os.path.join(directory, name))
    holders = " ".join(f"[{name}]={holder.pid}" for name, holder in network.holders.items())
    for kind, base, more in (("controller", 50, ""), ("broker", 10, ' --advertised-host "$host"')):
        path = os.path.join(directory, "weir-" + kind)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"""#!/usr/bin/env bash
set -eu
[ "${{1-}}" = --config ] || exec "{bin_dir}/weir-{kind}" "$@"
declare -A holder=({holders})
id=$(sed -n 's/^id = //p' "$2") # --config FILE
controllers=$(sed -n 's/^controllers = //p' "$2" | sed -E 's/([0-9]+)=127\\.0\\.0\\.1:/\\1=10.77.0.5\\1:/g')
host=10.77.0.$(({base} + id))
more=()
[ ! -f "${{2%/*}}/environment" ] || mapfile -t more <"${{2%/*}}/environment"
exec nsenter --net=/proc/${{holder[{kind}-$id]}}/ns/net env ${{more[@]+"${{more[@]}}"}} "{bin_dir}/weir-{kind}" "$@" \\
    --listen-host "$host"{more} --controllers "$controllers"
""")
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


class World(Cluster):
    """with World(bin_dir, directory, base_port) as w: w.kill("broker-1"); w.start("broker-1")"""

    def __init__(self, bin_dir, directory, base_port, brokers=3):
        os.environ["WEIR_TEST_BASE_PORT"] = str(base_port)
        self.real_bin, self.base_port = os.path.abspath(bin_dir), base_port
        names = [f"controller-{i + 1}" for i in range(3)] + [f"broker-{i + 1}" for i in range(brokers)]
        self.network = Network(names, base_port)
        self.work = directory
        self.all_names = names
        programs = os.path.join(directory, "bin")
        wrap_programs(programs, self.real_bin, self.network)
        super().__init__(programs, brokers=brokers, settings=SETTINGS, controller_settings=CONTROLLER_SETTINGS,
                         directory=os.path.join(directory, "cluster"))
        self.library = None
        self.mounted = []

    def __exit__(self, failed=None, *rest):
        self.network.heal(check=False)  # namespaces may be gone, when somebody ended all of us
        for name in self.all_names:
            if self.pid(name):
                os.kill(self.pid(name), signal.SIGCONT)
        super().__exit__(failed, *rest)
        for place in self.mounted:
            run("umount", "-l", place, check=False)
        self.network.close()

    # -- processes --------------------------------------------------------------------------------------

    def pid(self, name):
        try:
            with open(os.path.join(self.dir, name, "pid"), encoding="ascii") as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                return pid if os.path.join(self.dir, name, "config").encode() in file.read() else None
        except (OSError, ValueError):
            return None

    def kill(self, *names):
        """kill -9, all as one; returns when they are gone."""
        pids = [pid for pid in map(self.pid, names) if pid]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 20
        for pid in pids:
            while is_there(pid):
                expect(time.monotonic() < end, f"process {pid} does not end")
                time.sleep(0.005)
        self.reap()

    def signal(self, number_, *names):
        for name in names:
            if self.pid(name):
                os.kill(self.pid(name), number_)

    def start(self, *names):
        for name in names:
            if not self.pid(name):
                home = os.path.join(self.dir, name)
                with open(os.path.join(home, "log"), "ab") as log:
                    child = subprocess.Popen([os.path.join(self.bin, "weir-" + name.split("-")[0]), "--config",
                                              os.path.join(home, "config")], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                             start_new_session=True)
                with open(os.path.join(home, "pid"), "w", encoding="ascii") as file:
                    file.write(str(child.pid))
                self.children = [c for c in getattr(self, "children", []) if c.poll() is None] + [child]

    def term(self, *names):
        self.signal(signal.SIGTERM, *names)
        end = time.monotonic() + 40
        for name in names:
            while self.pid(name):
                self.reap()
                expect(time.monotonic() < end, f"{name} does not end after SIGTERM")
                time.sleep(0.02)

    def reap(self):
        for child in getattr(self, "children", []):
            child.poll()

    def environment(self, name, **more):
        """What NAME finds in its environment when it is started next; nothing: as usual."""
        path = os.path.join(self.dir, name, "environment")
        if more:
            with open(path, "w", encoding="utf-8") as file:
                file.write("".join(f"{key}={value}\n" for key, value in more.items()))
        elif os.path.exists(path):
            os.unlink(path)

    def data(self, name):
        return os.path.join(self.dir, name, "data")

    def env_inside(self, inside):
        """The environment of a client; in another namespace than ours controllers have their own addresses only."""
        if not inside:
            return self.env
        return dict(self.env, WEIR_BOOTSTRAP=",".join(f"{address(name)}:{self.base_port + number(name)}"
                                                      for name in self.names_of("controller")))

    def names_of(self, kind):
        return [name for name in self.all_names if name.startswith(kind)]

    def wait_serving(self, seconds=60):
        """Until every broker has a session and there is an active controller."""
        end = time.monotonic() + seconds
        while True:
            self.reap()
            try:
                brokers = self.json("weirctl", "broker", "list")["brokers"]
                if all(b["session"] for b in brokers):
                    return
            except Failed as problem:
                brokers = problem
            dead = [name for name in self.all_names if not self.pid(name)]
            expect(time.monotonic() < end, f"the cluster does not serve after {seconds} s (not running: {dead}): {brokers}")
            time.sleep(0.2)

    def wait_leaders(self, stream, seconds=60):
        end = time.monotonic() + seconds
        while True:
            try:
                if all(s["leader"] for s in self.shards(stream)):
                    return
            except Failed:
                pass
            expect(time.monotonic() < end, f"{stream}: shards without a leader after {seconds} s")
            time.sleep(0.05)

    # -- disks ------------------------------------------------------------------------------------------

    def bad_disk(self, name):
        """NAME's next start is on the disk of tests/support/bad_disk.c."""
        if self.library is None:
            self.library = os.path.join(self.work, "bad_disk.so")
            source = os.path.join(TREE, "tests", "support", "bad_disk.c")
            run("cc", "-O1", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", self.library, source, "-ldl")
        home = os.path.join(self.dir, name)
        for directory in ("keep", "control"):
            shutil.rmtree(os.path.join(home, directory), ignore_errors=True)
            os.mkdir(os.path.join(home, directory))
        if os.path.exists(os.path.join(self.work, name + ".changes")):
            os.unlink(os.path.join(self.work, name + ".changes"))
        more = {"WEIR_IO_BACKEND": "threads"} if name.startswith("broker") else {}
        self.environment(name, LD_PRELOAD=self.library, BAD_DISK_ROOT=self.data(name), BAD_DISK_KEEP=os.path.join(home, "keep"),
                         BAD_DISK_CONTROL=os.path.join(home, "control"), BAD_DISK_LOG=os.path.join(self.work, name + ".changes"),
                         **more)

    def order(self, name, what, on=True):
        path = os.path.join(self.dir, name, "control", what)
        if on:
            open(path, "w", encoding="ascii").close()
        elif os.path.exists(path):
            os.unlink(path)

    def power_cut(self, seed, torn, *names):
        """All of NAMES at once lose their power; they are not started again."""
        import power
        self.kill(*names)
        return "; ".join(f"{name}: " + power.cut(self.data(name), os.path.join(self.work, name + ".changes"),
                                                 os.path.join(self.dir, name, "keep"), f"{seed}-{name}", torn) for name in names)

    def small_disk(self, name, size):
        """NAME, which has ended, goes on with its data on a disk of its own of this size."""
        aside = self.data(name) + ".aside"
        os.rename(self.data(name), aside)
        os.mkdir(self.data(name))
        run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.data(name))
        self.mounted.append(self.data(name))
        run("cp", "-a", aside + "/.", self.data(name))
        shutil.rmtree(aside)

    def large_disk(self, name):
        aside = self.data(name) + ".aside"
        run("cp", "-a", self.data(name), aside)
        run("umount", self.data(name))
        self.mounted.remove(self.data(name))
        os.rmdir(self.data(name))
        os.rename(aside, self.data(name))

    def files(self, name, pattern):
        """Files of NAME's data with something in them, by size."""
        found = [path for path in glob.glob(os.path.join(self.data(name), pattern), recursive=True) if os.path.isfile(path)]
        return sorted((path for path in found if os.path.getsize(path)), key=os.path.getsize, reverse=True)

    def flip(self, rng, paths, count):
        """Single bits of files, where there are bytes other than zero."""
        done = 0
        for path in paths:
            with open(path, "r+b") as file:
                used = len(file.read().rstrip(b"\0"))
                for _ in range(count):
                    if used < 64:
                        break
                    at = rng.randrange(used)
                    file.seek(at)
                    old = file.read(1)[0]
                    file.seek(at)
                    file.write(bytes([old ^ 1 << rng.randrange(8)]))
                    done += 1
        return done

    # -- what the replicas hold -------------------------------------------------------------------------

    def replicas(self, stream_ids=None):
        """{shard: {broker: facts}} of all brokers, which have ended."""
        held = {}
        for name in self.names_of("broker"):
            for shard, facts in self.inspect(name).items():
                if stream_ids is None or int(shard.split("-")[0]) in stream_ids:
                    held.setdefault(shard, {})[name] = facts
        return held
