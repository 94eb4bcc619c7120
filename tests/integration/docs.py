#!/usr/bin/env python3
"""The documents are true: every configuration key is documented, every link and path they name exists.

usage: docs.py --bin DIR"""
import argparse
import os
import re
import subprocess
import sys

from cluster import TREE, expect, run_all

DOCUMENTS = ["README.md", "CHANGELOG.md"] + [os.path.join("docs", name) for name in sorted(os.listdir(os.path.join(TREE, "docs")))
                                             if name.endswith(".md")]


def read(path):
    with open(os.path.join(TREE, path), encoding="utf-8") as file:
        return file.read()


def keys_of(program):
    """The keys that a program's --help lists: lines that begin with --key."""
    text = subprocess.run([program, "--help"], check=True, capture_output=True, text=True).stdout
    return {key for key in re.findall(r"^\s*--([a-z][a-z0-9-]+)", text, re.M) if key not in ("help", "version", "config")}


def configuration(bin_dir):
    # Settings that controllers keep in their database are no keys of a file or a command line.
    text = "".join(part for part in re.split(r"^(?=## )", read("docs/configuration.md"), flags=re.M)
                   if not part.startswith("## Settings of the cluster"))
    documented = set(re.findall(r"^\| `([a-z][a-z0-9-]+)`", text, re.M))
    known = set()
    for program in ("weir-broker", "weir-controller"):
        known |= keys_of(os.path.join(bin_dir, program))
    expect(known, "the programs list no keys")
    expect(not known - documented, f"not in docs/configuration.md: {', '.join(sorted(known - documented))}")
    expect(not documented - known, f"in docs/configuration.md, but no program has it: {', '.join(sorted(documented - known))}")
    return f"{len(known)} keys"


def links():
    count = 0
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)\)", read(document)):
            if not target.startswith("http"):
                path = os.path.join(TREE, os.path.dirname(document), target)
                expect(os.path.exists(path), f"{document}: {target} does not exist")
                count += 1
    return f"{count} links"


def paths():
    count = 0
    for document in DOCUMENTS:
        for path in re.findall(r"`((?:base|proto|broker|controller|client|deploy|tests|docs|scripts)/[A-Za-z0-9_./-]*)`", read(document)):
            expect(os.path.exists(os.path.join(TREE, path)), f"{document}: {path} does not exist")
            count += 1
    return f"{count} paths"


def help_texts(bin_dir):
    for program in ("weir", "weirctl", "weir-broker", "weir-controller"):
        result = subprocess.run([os.path.join(bin_dir, program), "--help"], capture_output=True, text=True, check=False)
        expect(result.returncode == 0 and len(result.stdout) > 300, f"{program} --help: {result.returncode}, {result.stdout!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True)
    bin_dir = os.path.abspath(parser.parse_args().bin)
    return run_all([("every configuration key is documented", lambda: configuration(bin_dir)), ("links lead somewhere", links),
                    ("named paths exist", paths), ("every program explains itself", lambda: help_texts(bin_dir))])


if __name__ == "__main__":
    sys.exit(main())
