#!/bin/sh
# Compares a simulated engine with itself, and with one that is 5 % slower, and
# prints how often there is a winner: at most 5 % and at least 90 % are asked for.
# usage: scripts/aatest.sh [comparisons, default 200]
set -eu
cd "$(dirname "$0")/.."
program=$(mktemp -d)/aatest
trap 'rm -rf "$(dirname "$program")"' EXIT
go test -c -o "$program" ./internal/bench/run
cd internal/bench/run
"$program" -test.run '^TestAA$' -test.timeout 60m -aa "${1:-200}"
