#!/usr/bin/env python3
"""libweir as programs of others meet it: installed elsewhere, found by pkg-config and by CMake, its headers compiled one by one in
C and in C++, the programs of docs/client.md as they stand there, and what producers promise about futures, full buffers and time.

usage: library.py --build BUILD_DIR [--bin DIR] [--only NAME]"""
import argparse
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from cluster import TREE, Cluster, expect, run_all

HERE = os.path.dirname(os.path.abspath(__file__))
STRICT = ["-Wall", "-Wextra", "-Werror"]
CMAKE = """cmake_minimum_required(VERSION 3.20)
project(others C)
find_package(weir 0.1 REQUIRED)
add_executable(first first_producer.c)
target_link_libraries(first weir::weir)
"""


class Installed:
    """The library in a directory of its own, and programs built against it."""

    def __init__(self, cluster, build):
        self.cluster, self.prefix = cluster, os.path.join(cluster.dir, "moved")
        first = os.path.join(cluster.dir, "installed")
        cluster.run("cmake", "--install", build, "--component", "libweir-dev", "--prefix", first)
        os.rename(first, self.prefix)  # what is installed may be moved
        found = glob.glob(os.path.join(self.prefix, "lib", "**", "weir.pc"), recursive=True)
        expect(len(found) == 1, f"weir.pc: {found}")
        self.env = dict(cluster.env, PKG_CONFIG_PATH=os.path.dirname(found[0]))
        self.flags = cluster.run("pkg-config", "--cflags", "--libs", "weir", env=self.env).stdout.split()

    def path(self, *parts):
        return os.path.join(self.cluster.dir, *parts)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def compile(self, source, *more):
        out = self.path(os.path.splitext(os.path.basename(source))[0])
        self.cluster.run(os.environ.get("CC", "cc"), *STRICT, *more, "-o", out, source, *self.flags)
        return out


def documented():
    """The programs of docs/client.md: (first producer, first consumer)."""
    with open(os.path.join(TREE, "docs", "client.md"), encoding="utf-8") as file:
        text = file.read()
    producer = re.search(r"```c\n(.*?)```", text, re.S).group(1)
    consumer = re.search(r"The first consumer:\n\n((?:    .*\n|\n)+)", text).group(1)
    return producer, re.sub(r"^    ", "", consumer, flags=re.M)


def headers_stand_alone(lib):
    headers = sorted(os.path.basename(p) for p in glob.glob(os.path.join(lib.prefix, "include", "weir", "*.h")))
    expect({"client.h", "consumer.h", "producer.h", "reader.h", "weir.h"} <= set(headers), f"headers: {headers}")
    languages = [("c", ["cc", "-std=c11"])] + ([("cpp", ["c++", "-std=c++17"])] if shutil.which("c++") else [])
    for header in headers:
        for suffix, compiler in languages:
            source = lib.write(f"alone.{suffix}", f"#include <weir/{header}>\n")
            lib.cluster.run(*compiler, *STRICT, "-pedantic", "-fsyntax-only", f"-I{lib.prefix}/include", source)
    return f"{len(headers)} headers, {' and '.join(suffix for suffix, _ in languages)}"


def first_programs(lib):
    cluster = lib.cluster
    producer, consumer = documented()
    for text in (producer, consumer):
        expect(len(text.strip().splitlines()) <= 45, f"a first program of {len(text.strip().splitlines())} lines")
    cluster.create("orders", 2)
    cluster.run(lib.compile(lib.write("first_producer.c", producer)))
    got = cluster.run("weir", "get", "orders").stdout.splitlines()
    expect(got == ["opened", "paid", "shipped"], f"the first producer wrote {got}")
    out = lib.path("consumed")
    with open(out, "w", encoding="utf-8") as file:
        with subprocess.Popen(["stdbuf", "-oL", lib.compile(lib.write("first_consumer.c", consumer))], env=cluster.env, stdout=file) as process:
            end, lines = time.monotonic() + 20, []
            while len(lines) < 3 and time.monotonic() < end:
                time.sleep(0.1)
                with open(out, encoding="utf-8") as written:
                    lines = written.read().splitlines()
            process.send_signal(signal.SIGTERM)
            code = process.wait(timeout=40)
    expect(code == 0 and [line.split(": ")[1] for line in lines] == ["opened", "paid", "shipped"], f"the first consumer: {code}, {lines}")
    rest = cluster.run("timeout", "4", "weir", "consume", "billing", "orders", check=False).stdout
    expect(not rest, f"the first consumer did not checkpoint: {rest}")


def cmake_finds_it(lib):
    project = lib.path("project")
    os.makedirs(project)
    shutil.copy(lib.write("first_producer.c", documented()[0]), project)
    with open(os.path.join(project, "CMakeLists.txt"), "w", encoding="utf-8") as file:
        file.write(CMAKE)
    lib.cluster.run("cmake", "-S", project, "-B", project + "/build", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={lib.prefix}")
    lib.cluster.run("cmake", "--build", project + "/build")
    lib.cluster.run("weirctl", "stream", "create", "by-cmake")
    env = {name: value for name, value in lib.cluster.env.items() if name != "WEIR_CA"}
    result = lib.cluster.run(project + "/build/first", env=env, check=False)
    expect(result.returncode == 1 and "WEIR_CA" in result.stderr, f"without WEIR_CA: {result.returncode} {result.stderr}")


def producer_promises(lib):
    """Futures, buffers that are full, deadlines, and what is given up, with brokers that freeze."""
    cluster = lib.cluster
    program = lib.compile(os.path.join(HERE, "c", "producer_cases.c"), "-std=c11")
    cluster.create("cases", 1)
    pids = []
    for broker in sorted(glob.glob(os.path.join(cluster.dir, "broker-*"))):
        with open(os.path.join(broker, "pid"), encoding="utf-8") as file:
            pids.append(file.read().strip())
    try:
        result = cluster.run(program, "cases", *pids, check=False, timeout=150)
    finally:
        for pid in pids:
            os.kill(int(pid), signal.SIGCONT)
    expect(result.returncode == 0, result.stdout + result.stderr)
    return f"{len(result.stdout.splitlines())} cases"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--bin")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    with Cluster(options.bin or os.path.join(options.build, "bin")) as cluster:
        lib = Installed(cluster, os.path.abspath(options.build))
        tests = (headers_stand_alone, first_programs, cmake_finds_it, producer_promises)
        failed = run_all([(t.__name__.replace("_", " "), lambda t=t: t(lib)) for t in tests if options.only in t.__name__])
        cluster.no_reports()
    return failed


if __name__ == "__main__":
    sys.exit(main())
