#!/bin/sh
# Compares a simulated engine with itself, and with one that is 5 % slower, and
# prints how often there is a winner: at most 5 % and at least 90 % are asked for.
# usage: scripts/aatest.sh [comparisons, default 200]
set -eu
cd "$(dirname "$0")/.."
go test ./internal/bench/run -count=1 -run '^TestAA$' -aa "${1:-200}" -timeout 60m
