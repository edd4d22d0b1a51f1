#!/usr/bin/env bash
# Builds the contenders on etcd's own Go client (tests/neighbours/*.go) into .cache/neighbours/neighbour.
# Owns what is built and when; who contends with them is tests/faults/src/neighbours', etcdctl is tests/etcd/build.sh's.
#
# usage: tests/neighbours/build.sh
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$(cd "$here/../.." && pwd)/.cache/neighbours

# What go.sum pins is what gets built: no other toolchain, no edit of go.mod, no flags from the user's environment.
export GOTOOLCHAIN=local GOFLAGS=-mod=readonly GOWORK=off CGO_ENABLED=0

mkdir -p "$out"
# Two makes at once build one after the other, and the second finds everything done.
exec 9>"$out/.lock"
flock 9

cd "$here"
stamp=$( (go version && cat ./*.go go.mod go.sum build.sh) | sha256sum)
if [[ -x $out/neighbour && -f $out/stamp && $(<"$out/stamp") == "$stamp" ]]; then
    exit 0
fi
echo "neighbours: building (the first time also downloads etcd's Go client) ..."
started=$SECONDS
go vet -buildvcs=false .
# -s -w: no symbol table, no debug data. Written aside first: an interrupted build must not leave half a program behind.
go build -buildvcs=false -trimpath -ldflags='-s -w' -o "$out/neighbour.new" .
mv "$out/neighbour.new" "$out/neighbour"
echo "$stamp" >"$out/stamp"
echo "neighbours: built in $((SECONDS - started)) s"
