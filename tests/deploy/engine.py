"""A Docker Engine, a Debian root and Weir's packages and image, for the tests of deploy/."""
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TREE, "tests", "integration"))

from cluster import Failed, expect, run_all  # noqa: E402,F401

IMAGE, BASE = "weir:test", "weir-base:test"


class Skipped(Exception):
    """Why these tests cannot run here."""


def run(*command, check=True, timeout=300, env=None, stdin=None, cwd=None):
    result = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env, input=stdin, check=False, cwd=cwd)
    if check:
        expect(result.returncode == 0,
               f"{' '.join(command)} exited {result.returncode}: {result.stdout[-1500:]}{result.stderr[-1500:]}")
    return result


def install(*packages):
    run("apt-get", "update", "-qq")
    run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages, timeout=600,
        env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"))


def release():
    with open("/etc/os-release", encoding="utf-8") as file:
        return dict(line.rstrip().split("=", 1) for line in file if "=" in line)["VERSION_CODENAME"]


def debian_root():
    """A tar file of a minimal Debian root of this machine's release, from the mirror that this machine uses. Made once."""
    name = release()
    path = os.path.join(TREE, "build", "debian-root", f"{name}.tar")
    if os.path.exists(path):
        return path
    if not shutil.which("debootstrap"):
        raise Skipped("debootstrap is not installed here, which makes a Debian root")
    targets = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages").stdout
    mirror = next((line.split()[0] for line in targets.splitlines() if line.split()[1:] == [name, "main"]), None)
    if not mirror:
        raise Skipped(f"apt has no source of {name} main here")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    root = tempfile.mkdtemp(prefix="weir-debian-")
    try:
        made = run("debootstrap", "--variant=minbase", "--include=ca-certificates", name, root, mirror, check=False, timeout=900)
        if made.returncode != 0:
            raise Skipped(f"debootstrap failed: {(made.stdout + made.stderr).strip().splitlines()[-1]}")
        network = [line for line in run("apt-config", "dump").stdout.splitlines() if "Acquire::" in line and "Proxy" in line]
        with open(os.path.join(root, "etc/apt/apt.conf.d/90machine"), "w", encoding="utf-8") as file:
            file.write("".join(line + "\n" for line in network))
        run("chroot", root, "apt-get", "clean")
        os.chmod(root, 0o755)  # mkdtemp's would keep everyone but root out of "/"
        run("tar", "-C", root, "-cf", path + ".new", ".")
        os.rename(path + ".new", path)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return path


def packages(folder):
    """Weir's Debian packages, and the libraft that this machine has, into a folder."""
    os.makedirs(folder)
    build = os.path.join(TREE, "build", "release")
    os.makedirs(build, exist_ok=True)
    with open(os.path.join(build, "packages.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two tests may want them at once, and cpack works in one place
        made = run(os.path.join(TREE, "scripts", "packages"), build, timeout=900).stdout
        for path in made.split():
            shutil.copy(path, folder)
    version = run("dpkg-query", "-W", "-f=${Version}", "libraft0").stdout
    run("apt-get", "download", "-qq", f"libraft0={version}", cwd=folder)


class Engine:
    """with Engine() as e: e.docker("ps"). A daemon of our own, in a directory of our own, ended by its process id."""

    def __init__(self):
        self.process, self.dir, self.env = None, None, dict(os.environ, DOCKER_BUILDKIT="0")

    def __enter__(self):
        wanted = os.environ.get("WEIR_TEST_DOCKER", "auto")
        if wanted == "0":
            raise Skipped("WEIR_TEST_DOCKER=0")
        if os.geteuid() != 0:
            raise Skipped("a Docker Engine needs root")
        if wanted == "1" and not (shutil.which("dockerd") and shutil.which("docker-compose")):
            install("docker.io", "docker-compose", "debootstrap")
        if not shutil.which("dockerd"):
            raise Skipped("no Docker Engine here (docker.io is not installed; WEIR_TEST_DOCKER=1 installs it)")
        self.compose_command = next((c for c in (["docker-compose"], ["docker", "compose"])
                                     if shutil.which(c[0]) and run(*c, "version", check=False).returncode == 0), None)
        if not self.compose_command:
            raise Skipped("no docker-compose here")
        self.dir = tempfile.mkdtemp(prefix="weir-engine-")
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        socket = os.path.join(self.dir, "sock")
        self.env["DOCKER_HOST"] = "unix://" + socket
        self.log = os.path.join(self.dir, "log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", "--host", self.env["DOCKER_HOST"],
                 "--data-root", os.path.join(self.dir, "data"), "--exec-root", os.path.join(self.dir, "exec"),
                 "--pidfile", os.path.join(self.dir, "pid"), "--containerd-namespace", "weir-test",
                 "--containerd-plugins-namespace", "weir-test-plugins"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        end = time.monotonic() + 30
        while self.docker("info", check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > end:
                with open(self.log, encoding="utf-8", errors="replace") as log:
                    raise Skipped(f"no Docker Engine can be started here: {log.read().strip().splitlines()[-1]}")
            time.sleep(0.2)

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.dir:
            # The daemon leaves its network namespace mounted.
            subprocess.run(["umount", os.path.join(self.dir, "exec", "netns", "default")], capture_output=True, check=False)
            shutil.rmtree(self.dir, ignore_errors=True)

    def docker(self, *arguments, check=True, timeout=300, stdin=None):
        return run("docker", *arguments, check=check, timeout=timeout, env=self.env, stdin=stdin)

    def build(self):
        """The image, from this tree's packages on a Debian root. Seconds that the build took."""
        root = debian_root()
        context = os.path.join(self.dir, "context")
        packages(os.path.join(context, "packages"))
        shutil.copytree(os.path.join(TREE, "deploy", "docker"), os.path.join(context, "deploy", "docker"))
        begin = time.monotonic()
        self.docker("import", root, BASE)
        self.docker("build", "--network", "host", "--build-arg", f"BASE={BASE}", "--build-arg", "PACKAGES=packages", "-t", IMAGE,
                    "-f", os.path.join(context, "deploy/docker/Dockerfile"), context, timeout=600)
        return time.monotonic() - begin


def main(tests_of):
    """Runs tests_of(engine), a list of (name, function), with an engine that has the image; or says why not."""
    try:
        with Engine() as engine:
            took = engine.build()
            print(f"the image was built in {took:.0f} s", flush=True)
            return run_all(tests_of(engine))
    except Skipped as why:
        print("0 passed, 0 failed")
        print(f"skipped: {why}")
        return 0
    except Failed as problem:
        return run_all([("packages and image are built", lambda: _raise(problem))])


def _raise(problem):
    raise problem
