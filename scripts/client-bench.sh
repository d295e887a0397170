#!/bin/sh
# Measures the client: the built-in server on CPU 0, the client on CPU 1, and in
# the same run a plain net/http + encoding/json client and an aiohttp client
# (pip install aiohttp; left out without it). Run it on a machine with at least
# two CPUs that does nothing else; it takes about five minutes.
#
#   scripts/client-bench.sh [PATTERN]
#
# PATTERN is a regular expression of case/client, such as 10000_streams or
# 2000_requests/llmdyno. Columns: events and their rate as received and as
# planned; error of the recorded arrival against the server's own instant (p50,
# p99, p99.9, us); lag from the arrival in the kernel to the read (p50, p99, us);
# events read together with others; CPU per event and share of the CPU; memory
# per waiting stream; lateness of the sending of requests.
set -eu
cd "$(dirname "$0")/.."
echo "load: $(cut -d' ' -f1-3 /proc/loadavg)   CPUs: $(getconf _NPROCESSORS_ONLN)   kernel: $(uname -r)   $(go version | cut -d' ' -f3)"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
go test -c -o "$out/load.test" ./internal/load
cd internal/load
# The table is on stderr; the lines of the testing package say the same to benchstat.
"$out/load.test" -test.run '^$' -test.bench "BenchmarkSpeed/${1:-.}" -test.benchtime 1x -test.timeout 30m 2>&1 >"$out/bench.txt"
echo "load: $(cut -d' ' -f1-3 /proc/loadavg)"
