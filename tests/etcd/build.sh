#!/usr/bin/env bash
# Builds the pinned etcd servers (and etcdctl 3.7) from their released Go modules into .cache/etcd/<version>/.
# Owns what is built and when; which version a test runs is tests/src/etcd.rs's, etcd 3.4 is Debian's (.ci/setup).
#
# usage: tests/etcd/build.sh [VERSION...]     (default: every folder beside this script)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/etcd

# What go.sum pins is what gets built: no other toolchain, no edit of go.mod, no flags from the user's environment.
export GOTOOLCHAIN=local GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0

build_one() { # VERSION
    local version=$1 out=$cache/$1 stamp started packages package name
    if [[ ! -f $here/$version/go.mod ]]; then
        echo "etcd $version: no such version; there are: $(cd "$here" && echo */)" >&2
        return 2
    fi
    stamp=$( (go version && cat "$here/$version/go.mod" "$here/$version/go.sum" "$here/build.sh") | sha256sum)
    if [[ -x $out/etcd && -f $out/stamp && $(<"$out/stamp") == "$stamp" ]]; then
        return 0
    fi
    echo "etcd $version: building (the first time also downloads its modules) ..."
    started=$SECONDS
    mkdir -p "$out"
    # The module's `tool` lines name the programs; each goes to a name of its own, since two of them end in "v3".
    packages=$(cd "$here/$version" && go list -f '{{.ImportPath}}' tool)
    for package in $packages; do
        name=etcd
        [[ $package == */etcdctl/* ]] && name=etcdctl
        # -s -w: no symbol table, no debug data; it halves the link. Written aside first: a build that is
        # interrupted must not leave half a program behind.
        (cd "$here/$version" && go build -buildvcs=false -trimpath -ldflags='-s -w' -o "$out/$name.new" "$package")
        mv "$out/$name.new" "$out/$name"
    done
    echo "$stamp" >"$out/stamp"
    echo "etcd $version: built in $((SECONDS - started)) s: $("$out/etcd" --version | head -n 1)"
}

mkdir -p "$cache"
# Two makes at once build one after the other, and the second finds everything done.
exec 9>"$cache/.lock"
flock 9

if (($# == 0)); then
    cd "$here"
    versions=(*/)
    set -- "${versions[@]%/}"
fi
for version in "$@"; do
    build_one "$version"
done
