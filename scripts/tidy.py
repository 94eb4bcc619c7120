#!/usr/bin/env python3
"""What the compiler cannot see: sizes, layers, banned words, unregistered tests, comments on contracts.

usage: scripts/tidy.py [FILE...]     all tracked and new files when none is named

Prints one line for each finding and exits with 1 if there is any."""
import os
import re
import subprocess
import sys

FILE_LINES_MAX, FUNCTION_LINES_MAX, COLUMNS_MAX = 600, 70, 100

# A folder may include its own headers, those of base, and the one public header of each folder named here.
LAYERS = {
    "base": [],
    "proto/wire": [],
    "proto/rpc": ["proto/wire"],
    "proto/net": ["proto/wire", "proto/rpc", "proto/schema"],
    "broker/replica": [],
    "broker/kept": ["proto/wire"],
    "broker/journal": ["proto/wire", "broker/log", "broker/replica"],
    "broker/log": ["proto/wire", "broker/journal", "broker/replica"],
    "broker/route": ["proto/wire", "proto/rpc", "proto/net", "proto/schema"],
    "broker/shard": ["proto/wire", "proto/rpc", "proto/net", "proto/schema", "broker/replica", "broker/journal",
                     "broker/log", "broker/route", "broker/kept"],
    "broker/api": ["proto/wire", "proto/rpc", "proto/net", "proto/schema", "broker/route", "broker/shard",
                   "broker/log"],
    "broker/kinesis": ["proto/wire", "proto/rpc", "proto/net", "proto/schema", "broker/route", "broker/api", "broker/kept"],
    "broker/server": ["proto/wire", "proto/rpc", "proto/net", "proto/schema", "broker/route", "broker/shard",
                      "broker/api", "broker/kinesis", "broker/journal", "broker/log", "broker/replica"],
    "controller/election": ["broker/replica"],
    "controller/placement": [],
    "controller/moves": ["controller/election"],
    "controller/row": ["controller/db", "controller/election", "controller/moves"],
    "controller/db": ["proto/wire", "proto/schema"],
    "controller/command": ["proto/wire", "proto/schema", "controller/db", "controller/placement", "controller/election",
                           "controller/moves", "controller/row"],
    "controller/watch": ["proto/rpc", "proto/net", "proto/schema", "controller/db", "controller/command",
                         "controller/moves"],
    "controller/raft": ["proto/wire", "proto/rpc", "proto/net", "proto/schema"],
    "controller/rpc": ["proto/wire", "proto/rpc", "proto/net", "proto/schema", "controller/db", "controller/command",
                       "controller/watch", "controller/raft", "controller/election", "controller/placement",
                       "controller/moves", "controller/row"],
    "controller/server": ["proto/wire", "proto/rpc", "proto/net", "proto/schema", "controller/db",
                          "controller/command", "controller/watch", "controller/raft", "controller/election",
                          "controller/placement", "controller/rpc"],
}
# Folders whose headers are small and all public; and everywhere the list of what mutants leave out.
OPEN = ("base", "proto/wire", "proto/rpc", "proto/net", "proto/schema", "controller/moves")
CLIENT_MAY = ("base/", "proto/", "client/", "weir/")
PURE = ("broker/replica/", "broker/kept/", "proto/wire/", "proto/rpc/", "controller/election/", "controller/placement/",
        "controller/moves/")
IMPURE = r"#\s*include <(uv|sqlite3|liburing|openssl/.*|time|pthread|unistd|sys/.*)\.?h?>"
BANNED = {"strcpy": "bytes", "strcat": "bytes", "sprintf": "snprintf", "atoi": "a parser that can fail",
          "rand": "rng_next", "time": "the clock you were given", "gettimeofday": "the clock you were given",
          "strtok": "a reader", "alloca": "a bounded buffer"}
GLOSSARY = {r"\bslave\b": "follower", r"\bmaster\b": "leader, or active controller"}


def folder_of(path):
    return max((f for f in LAYERS if path.startswith(f + "/")), key=len, default=None)


def layer_findings(path, number, folder, name):
    home = folder_of(path)
    if path.startswith("client/"):
        if not (folder + "/").startswith(CLIENT_MAY):
            yield number, f"client may not depend on {folder}"
        return
    if not home or folder not in LAYERS or folder == home or folder == "base":
        return
    if folder not in LAYERS[home] and not (folder == "base"):
        yield number, f"{home} may not depend on {folder}"
    elif folder not in OPEN and name not in (folder.split("/")[-1] + ".h", "mutant.h"):
        yield number, f"{folder}/{name} is private to {folder}"


def code_findings(path, lines):
    start = None
    for number, line in enumerate(lines, 1):
        if include := re.match(r'#\s*include "(.+)/([^/]+)"', line):
            yield from layer_findings(path, number, *include.groups())
        if path.startswith(PURE) and re.match(IMPURE, line):
            yield number, "this folder is pure: no I/O, no clock, no threads"
        if path.startswith("base/") and re.match(r"#\s*include <(uv|sqlite3|protobuf.*)\.h>", line):
            yield number, "base is C, libcrypto's digests and nothing else"
        code = re.sub(r'"(\\.|[^"\\])*"', '""', line)
        if code.lstrip().startswith(("*", "/*")):
            code = ""
        for word, better in BANNED.items():
            if re.search(rf"(?<![\w.>]){word}\(", code):
                yield number, f"{word}() is banned, use {better}"
        if line == "{":
            start = number
        elif line == "}" and start:
            if number - start - 1 > FUNCTION_LINES_MAX:
                yield start, f"function of {number - start - 1} lines, at most {FUNCTION_LINES_MAX}"
            start = None


def findings(path, lines):
    if path.endswith((".c", ".h")):
        if len(lines) > FILE_LINES_MAX:
            yield 1, f"{len(lines)} lines, at most {FILE_LINES_MAX}"
        yield from code_findings(path, lines)
    if path.endswith(".h") and not path.endswith(".def.h") and "#pragma once" not in lines:
        yield 1, "a header without #pragma once"
    for number, line in enumerate(lines, 1):
        if re.search(r"\b(TODO|FIXME|XXX)\b", line) and not path.endswith("tidy.py"):
            yield number, "unfinished work belongs in an issue, not in the tree"
        for pattern, better in GLOSSARY.items():
            if path.endswith((".c", ".h", ".md", ".proto")) and re.search(pattern, line, re.I):
                yield number, f"the word is: {better}"


def unregistered_tests():
    lists = ""
    for name in sorted(os.listdir("tests/unit")):
        if name.endswith(".cmake"):
            with open(f"tests/unit/{name}", encoding="utf-8") as file:
                lists += file.read()
    for folder, _, names in os.walk("tests/unit"):
        for name in names:
            if name.endswith("_test.c"):
                test = os.path.relpath(os.path.join(folder, name), "tests/unit")[:-len("_test.c")]
                if not re.search(rf"weir_unit_test\(\s*{re.escape(test)}[\s)]", lists):
                    yield f"tests/unit/{test}_test.c", 1, "this test is in no tests/unit/*.cmake"


def main():
    os.chdir(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    paths = sys.argv[1:] or subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], text=True).split("\n")
    found = []
    for path in paths:
        if not path or not os.path.isfile(path) or not path.endswith((".c", ".h", ".def", ".py", ".md", ".proto", ".txt",
                                                                      ".cmake", ".sh")):
            continue
        with open(path, encoding="utf-8") as file:
            found += [(path, number, what) for number, what in findings(path, file.read().splitlines())]
    if not sys.argv[1:]:
        found += list(unregistered_tests())
    for path, number, what in found:
        print(f"{path}:{number}: {what}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
