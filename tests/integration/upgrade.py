#!/usr/bin/env python3
"""usage: upgrade.py BIN: a cluster of older programs, under load of native clients and of boto3, is upgraded process by process
to those in BIN, and a broker and a controller go back and forth again. No request fails, nothing is lost or doubled. What an older
controller does not know is refused as long as there is one.

The older programs are built, once, from the commit that tests/compat/old-revision names, in build/old. Where the history does
not have it (a shallow clone, a tarball) the test is skipped, and says so. boto3 as in kinesis_api.py; without it the SDK's part
is left out, and that is said."""
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import LOCAL, TREE, Cluster, Failed, expect, run_all  # noqa: E402
from kinesis_api import with_boto3  # noqa: E402
from steady_load import Native, Sdk  # noqa: E402

BIN = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build/release/bin")
BUILD = os.path.join(TREE, "build", "old")
PROGRAMS = ("weir", "weirctl", "weir-broker", "weir-controller")
NO_SDK = None  # why boto3 is not there


# ---- the older programs ----

def revision():
    with open(os.path.join(TREE, "tests", "compat", "old-revision"), encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip() and not line.startswith("#")][0]


def git(*words):
    return subprocess.run(["git", "-C", TREE, *words], capture_output=True, text=True, check=False)


def build_old():
    """Returns the directory of the programs, or why there are none."""
    wanted = os.environ.get("WEIR_OLD_REVISION") or revision()
    found = git("rev-parse", "--verify", "--quiet", wanted + "^{commit}")
    if found.returncode != 0:
        return None, f"the history here does not have commit {wanted}: a shallow clone, or no repository"
    commit = found.stdout.strip()
    source, made, mark = os.path.join(BUILD, "source"), os.path.join(BUILD, "build"), os.path.join(BUILD, "commit")
    programs = os.path.join(made, "bin")
    if os.path.exists(mark):
        with open(mark, encoding="utf-8") as file:
            if file.read().strip() == commit:
                return programs, commit[:7]
    shutil.rmtree(BUILD, ignore_errors=True)
    os.makedirs(source)
    archive = subprocess.Popen(["git", "-C", TREE, "archive", commit], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", source], stdin=archive.stdout, check=True)
    expect(archive.wait() == 0, "git archive")
    command = ["cmake", "-S", source, "-B", made, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DWEIR_TESTS=OFF",
               "-DCMAKE_C_FLAGS_RELEASE=-O1"]  # what it is compared with is not its speed
    if shutil.which("ccache"):
        command.append("-DCMAKE_C_COMPILER_LAUNCHER=ccache")
    environment = dict(os.environ, CCACHE_BASEDIR=source, CCACHE_NOHASHDIR="1")
    for words in (command, ["ninja", "-C", made, "-j3", *(f"bin/{name}" for name in PROGRAMS)]):
        result = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
        expect(result.returncode == 0, f"building {commit[:7]}: {result.stdout[-800:]}{result.stderr[-800:]}")
    with open(mark, "w", encoding="utf-8") as file:
        file.write(commit)
    return programs, commit[:7]


# ---- going there and back ----

def program_of(cluster, name):
    return os.readlink(f"/proc/{cluster.local('pid', name).strip()}/exe")


def expect_programs(cluster, directory, names):
    for name in names:
        expect(program_of(cluster, name) == os.path.realpath(os.path.join(directory, "weir-" + name.split("-")[0])),
               f"{name} runs {program_of(cluster, name)}, not that of {directory}")


def contents(directory):
    """What a directory's files are, but for the count of starts and locks."""
    found = {}
    for root, _, files in os.walk(directory):
        for name in files:
            path = os.path.join(root, name)
            if name not in ("boot", "lock"):
                with open(path, "rb") as file:
                    found[os.path.relpath(path, directory)] = hashlib.sha256(file.read()).hexdigest()
    return found


def go_back(cluster, name, old, new):
    """One process runs the older program again; or the older one says that it does not read what the newer one has written,
    changes nothing, and the newer one goes on. Then forward."""
    result = subprocess.run([LOCAL, "restart", name, "--bin", old, "--dir", cluster.dir], capture_output=True, text=True, timeout=150,
                            check=False)
    if result.returncode == 0:
        expect_programs(cluster, old, [name])
        time.sleep(1)
        cluster.local("restart", name, "--bin", new)
        expect_programs(cluster, new, [name])
        return f"{name} went back and forth"
    last = cluster.log(name).splitlines()[-1]
    expect("newer Weir" in last or "newer version" in last, f"{name} does not run with the older program: {result.stderr}{last}")
    before = contents(os.path.join(cluster.dir, name, "data"))
    again = subprocess.run([os.path.join(old, "weir-" + name.split("-")[0]), "--config", os.path.join(cluster.dir, name, "config")],
                           capture_output=True, text=True, timeout=30, check=False)
    expect(again.returncode == 1, f"the older program exits with 1, not {again.returncode}: {again.stderr}")
    expect(contents(os.path.join(cluster.dir, name, "data")) == before, f"{name}: the older program changed what it does not know")
    cluster.local("start", name)
    expect_programs(cluster, new, [name])
    wait_safe(cluster)
    return f"{name} cannot go back, as the older program says ({last.split('weir-')[-1][:120]})"


def check(cluster):
    """What `weirctl upgrade check` of the newer tools says: exit code and JSON."""
    result = cluster.run(os.path.join(BIN, "weirctl"), "upgrade", "check", "--json", check=False)
    expect(result.returncode in (0, 1), f"upgrade check: {result}")
    return result.returncode, json.loads(result.stdout)


def wait_safe(cluster, seconds=60):
    end = time.monotonic() + seconds
    while True:
        code, said = check(cluster)
        if code == 0:
            return said
        expect(time.monotonic() < end, f"not safe after {seconds} s: {said['reasons']}")
        time.sleep(0.2)


def expect_formats(said):
    """Every process tells what it writes and reads, as docs/operations.md has it."""
    for process in said["processes"]:
        kind = process["name"].split("-")[0]
        names = {f["name"] for f in process["formats"]}
        wanted = {"protocol", "journal", "directory", "batch"} if kind == "broker" else {"protocol", "raft-log", "state", "backup"}
        expect(wanted <= names, f"{process['name']} tells its formats: {sorted(names)}")
        expect(all(0 < f["oldest"] <= f["writes"] for f in process["formats"]), f"formats of {process['name']}: {process['formats']}")


def an_older_cluster_is_upgraded_under_load(old):
    with Cluster(old) as c:
        for stream in ("orders", "returns", "clicks"):
            c.create(stream, 6 if stream == "clicks" else 3)
            c.wait_in_sync(stream)
        expect_programs(c, old, c.names())
        loads = [Native(c, "orders", "older", bin_dir=old, rate=50)]
        loads.append(Native(c, "returns", "newer", bin_dir=BIN, rate=50))
        sdk = None if NO_SDK else Sdk(c, "clicks")
        time.sleep(2)
        wait_safe(c)
        began = time.monotonic()
        said = c.local("rolling-restart", "--bin", BIN)
        took = time.monotonic() - began
        expect(said.count("restarted") == 6, f"six processes are upgraded: {said}")
        c.bin = BIN
        c.load_env()
        expect_programs(c, BIN, c.names())
        expect_formats(wait_safe(c))
        back = [go_back(c, "broker-1", old, BIN)]
        follower = next(n for n in c.names() if n.startswith("controller") and n != c.active_controller())
        back.append(go_back(c, follower, old, BIN))
        time.sleep(1)
        if sdk:
            sdk.stop()
        for load in loads:
            load.stop()
        c.no_reports()
        return (f"upgraded in {took:.1f} s; {'; '.join(back)}\n    " + "\n    ".join(
            f"{load.name} native client: {load.sent} lines, 0 failed; longest gap between two acknowledgements {load.gap:.2f} s, between "
            f"two records read {load.read_gap:.2f} s" for load in loads) + "\n    " +
            (sdk.figures() if sdk else f"SDK clients: left out: {NO_SDK}"))


# ---- what is new waits for the last controller ----

def balance(cluster, *words):
    """weirctl balance of the newer tools."""
    return cluster.run(os.path.join(BIN, "weirctl"), "balance", *words, check=False)


def expect_refused(cluster, holder, why):
    """Nothing new is proposed for the sake of `holder`: neither for an administrator, nor by itself."""
    end = time.monotonic() + 30
    while True:  # until all have met again; but done it is never
        result = balance(cluster, "off", "leaders")
        expect(result.returncode != 0, f"{holder} {why}, and nobody minds")
        half = balance(cluster, "status", "--json")
        half = json.loads(half.stdout)["leaders"] if half.returncode == 0 else {"state": half.stderr}
        if f"{holder} {why}" in result.stderr and half["state"].startswith(f"waits: {holder} {why}"):
            break
        expect(time.monotonic() < end, f"what is new waits for {holder}: {result}, {half}")
        time.sleep(0.5)
    expect(half["on"] and half["moved"] == 0, f"nothing was switched off or moved: {half}")


def expect_done(cluster, *words, seconds=30):
    """It works, at the latest when all controllers have met again."""
    end = time.monotonic() + seconds
    while True:
        result = balance(cluster, *words)
        if result.returncode == 0:
            return
        expect(time.monotonic() < end, f"balance {' '.join(words)}: {result}")
        time.sleep(0.2)


def use_programs(cluster, directory):
    """What is started from now on is of that directory."""
    path = os.path.join(cluster.dir, "cluster")
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"bin={shlex.quote(directory)}\n" if line.startswith("bin=") else line + "\n" for line in lines)


def wait_active(cluster, seconds=30):
    end = time.monotonic() + seconds
    while True:
        result = cluster.run("weirctl", "cluster", "status", "--json", "--timeout", "2s", check=False)
        if result.returncode == 0:
            return cluster.active_controller()
        expect(time.monotonic() < end, f"a controller is active: {result}")
        time.sleep(0.2)


def what_an_older_controller_does_not_know_waits(old):
    with Cluster(old, brokers=3) as c:
        c.create("orders", 3)
        c.wait_in_sync("orders")
        first = c.active_controller()
        other, last = (f"controller-{i}" for i in (1, 2, 3) if f"controller-{i}" != first)
        for name in (other, first):
            c.local("restart", name, "--bin", BIN)
        if wait_active(c) == last:
            c.local("restart", last, "--bin", old)
        active = wait_active(c)
        expect(active != last, f"a newer controller is active, not {active}")
        expect_programs(c, old, [last])
        pid = c.local("pid", last)
        older = "runs an older version, which does not know this change: upgrade it first"
        expect_refused(c, last, older)
        lines = c.log(active).count("upgrade: what is new since then waits")
        expect_refused(c, last, older)
        expect(c.log(active).count("upgrade: what is new since then waits") == lines > 0, f"{active} says for whom it waits, once")
        c.create("returns", 2)  # what has always been goes on
        c.wait_in_sync("returns")
        wait_safe(c)
        expect(c.local("pid", last) == pid, f"{last} goes on")

        c.local("restart", last, "--bin", BIN)
        expect_done(c, "off", "leaders")
        use_programs(c, BIN)
        c.local("term", last)
        expect_done(c, "on", "leaders", seconds=5)  # its word counts while it is away
        for name in (first, other):
            c.local("term", name)
            c.local("start", name)
            wait_active(c)
        expect_refused(c, last, "has not been heard of yet and may run an older version")
        c.create("clicks", 2)
        c.local("start", last)
        expect_done(c, "off", "leaders")
        expect(not json.loads(balance(c, "status", "--json").stdout)["leaders"]["on"], "it is off")
        wait_safe(c)
        c.no_reports()
        return f"{last} was the older one"


def main():
    global NO_SDK
    NO_SDK = with_boto3()
    began = time.monotonic()
    try:
        old, what = build_old()
    except (Failed, OSError, subprocess.SubprocessError) as problem:
        print(f"FAILED  building the older programs: {problem}\n0 passed, 1 failed")
        return 1
    if old is None:
        print(f"skipped: {what}\n1 passed, 0 failed")
        return 0
    print(f"older programs: {what}, {time.monotonic() - began:.0f} s", flush=True)
    return run_all([(f"a cluster of {what} is upgraded under load", lambda: an_older_cluster_is_upgraded_under_load(old)),
                    ("what an older controller does not know waits for its upgrade",
                     lambda: what_an_older_controller_does_not_know_waits(old))])


if __name__ == "__main__":
    sys.exit(main())
