"""A local cluster under test: started by deploy/local/weir-local, on loopback, ended by process id."""
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOCAL = os.path.join(TREE, "deploy", "local", "weir-local")


class Failed(Exception):
    """What a test found wrong, as a sentence."""


def expect(condition, sentence):
    if not condition:
        raise Failed(sentence)


class Cluster:
    """with Cluster(bin_dir) as c: c.run("weirctl", "cluster", "status")"""

    def __init__(self, bin_dir, controllers=3, brokers=3, settings=(), controller_settings=(), directory=None, wait=True,
                 cleartext=False):
        self.bin = os.path.abspath(bin_dir)
        self.own_directory = directory is None
        self.dir = directory or tempfile.mkdtemp(prefix="weir-test-")
        self.controllers, self.brokers = controllers, brokers
        self.settings, self.controller_settings = settings, controller_settings
        self.wait, self.cleartext = wait, cleartext
        self.env = None

    def __enter__(self):
        try:
            self.up()
        except BaseException:
            self.__exit__(True)
            raise
        return self

    def __exit__(self, failed=None, *_):
        if failed:
            self.show_logs()
        subprocess.run([LOCAL, "down", "--dir", self.dir], check=False, capture_output=True)
        if self.own_directory and not os.environ.get("WEIR_TEST_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def show_logs(self):
        for name in sorted(os.listdir(self.dir)):
            log = os.path.join(self.dir, name, "log")
            if os.path.exists(log):
                with open(log, encoding="utf-8", errors="replace") as file:
                    lines = file.read().splitlines()
                print(f"--- {name}: the last of {len(lines)} lines")
                print("\n".join("    " + line for line in lines[-12:]))

    def up(self):
        command = [LOCAL, "up", "--dir", self.dir, "--bin", self.bin, "--controllers", str(self.controllers), "--brokers",
                   str(self.brokers)]
        if os.environ.get("WEIR_TEST_BASE_PORT"):
            command += ["--base-port", os.environ["WEIR_TEST_BASE_PORT"]]
        command += ["--cleartext"] if self.cleartext else []
        for line in self.settings:
            command += ["--set", line]
        for line in self.controller_settings:
            command += ["--set-controller", line]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        expect(result.returncode == 0, f"weir-local up failed: {result.stdout}{result.stderr}")
        self.load_env()

    def load_env(self):
        text = subprocess.run([LOCAL, "env", "--dir", self.dir], check=True, capture_output=True, text=True).stdout
        self.env = dict(os.environ)
        for line in text.splitlines():
            name, value = line.removeprefix("export ").split("=", 1)
            if name != "PATH":
                self.env[name] = value.strip("'\"")
        self.env["PATH"] = self.bin + ":" + self.env["PATH"]

    def local(self, *arguments):
        result = subprocess.run([LOCAL, *arguments, "--dir", self.dir], capture_output=True, text=True, timeout=120)
        expect(result.returncode == 0, f"weir-local {' '.join(arguments)}: {result.stderr}")
        return result.stdout

    def run(self, *command, check=True, timeout=120, stdin=None, env=None):
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env or self.env, input=stdin)
        if check:
            expect(result.returncode == 0, f"{' '.join(command)} exited {result.returncode}: {result.stdout}{result.stderr}")
        return result

    def json(self, *command):
        return json.loads(self.run(*command, "--json").stdout)

    def create(self, stream, shards=4):
        self.run("weirctl", "stream", "create", stream, "--shards", str(shards))

    def shards(self, stream):
        return self.json("weirctl", "shard", "list", stream)["shards"]

    def names(self):
        return [f"controller-{i + 1}" for i in range(self.controllers)] + [f"broker-{i + 1}" for i in range(self.brokers)]

    def active_controller(self):
        status = self.json("weirctl", "cluster", "status")
        return f"controller-{status['active_controller']}" if isinstance(status["active_controller"], int) else \
            status["active_controller"]

    def log(self, name):
        with open(os.path.join(self.dir, name, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def no_reports(self):
        """No process said that a check of ours or a sanitizer's failed."""
        for name in self.names():
            for line in self.log(name).splitlines():
                expect(not re.search(r"Sanitizer|runtime error:|CHECK failed", line), f"{name}: {line}")

    def wait_in_sync(self, stream, seconds=60):
        """Until all three replicas of every shard have all that is committed."""
        end = time.monotonic() + seconds
        shards = []
        while time.monotonic() < end:
            try:
                shards = self.shards(stream)
                if all(s["leader"] and all(r["in_sync"] for r in s["replicas"]) for s in shards):
                    return
            except Failed:
                pass
            time.sleep(0.2)
        raise Failed(f"{stream}: not all replicas are in sync after {seconds} s: {shards}")

    def inspect(self, broker):
        """What the offline inspector says of a stopped broker's disk: {shard: facts}."""
        out = self.run("weir-inspect", os.path.join(self.dir, broker, "data")).stdout
        return {row["shard"]: row for row in json.loads(out)["shards"]}


def run_all(tests):
    """Runs (name, function) pairs and prints the closing line that tests/run counts."""
    passed = failed = 0
    for name, function in tests:
        begin = time.monotonic()
        try:
            said = function()
            passed += 1
            print(f"ok      {name}{': ' + said if said else ''} ({time.monotonic() - begin:.1f} s)", flush=True)
        except (Failed, subprocess.SubprocessError, OSError, ValueError, KeyError) as problem:
            failed += 1
            print(f"FAILED  {name}: {problem} ({time.monotonic() - begin:.1f} s)", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0
