#!/usr/bin/env bash
# Times `llmdyno profile triage` against `gzip -dc` and against Python's json.load on
# the same files: wall, user time and peak memory, in one run on one machine.
#
#   scripts/profile-bench.sh TRACE.json.gz…
#
# Of the first trace it also makes synthetic ones of 600 MB and 2 GB of text
# (llmdyno profile synth); SIZES="50MB" makes others, SIZES= none. Each figure is the
# median of RUNS (3) by wall. json.load is left out without python3, and above
# JSON_LIMIT bytes of text (3000000000): it takes several times the text in memory.
# Ratios are those of the wall times; "B/event" is (peak - 64 MB) / events of triage.
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit 2; }
traces=("$@")
for i in "${!traces[@]}"; do traces[i]=$(realpath "${traces[i]}"); done
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -o "$work/llmdyno" ./cmd/llmdyno
for size in ${SIZES-600MB 2GB}; do
	"$work/llmdyno" profile synth "${traces[0]}" --size "$size" --out "$work/synthetic-$size.json.gz" --quiet
	traces+=("$work/synthetic-$size.json.gz")
done

# measure COMMAND…: the median run as "wall user rssMB".
cat >"$work/measure.go" <<'EOF'
package main

import (
	"fmt"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"syscall"
	"time"
)

func main() {
	runs, _ := strconv.Atoi(os.Args[1])
	type one struct{ wall, user, rss float64 }
	var all []one
	for range runs {
		c := exec.Command(os.Args[2], os.Args[3:]...)
		c.Stderr = os.Stderr
		begin := time.Now()
		if err := c.Run(); err != nil {
			fmt.Fprintln(os.Stderr, os.Args[2], err)
			os.Exit(1)
		}
		wall := time.Since(begin).Seconds()
		u := c.ProcessState.SysUsage().(*syscall.Rusage)
		all = append(all, one{wall, c.ProcessState.UserTime().Seconds(), float64(u.Maxrss) / 1024})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].wall < all[j].wall })
	m := all[len(all)/2]
	fmt.Printf("%.3f %.3f %.0f\n", m.wall, m.user, m.rss)
}
EOF
go build -o "$work/measure" "$work/measure.go"
measure() { "$work/measure" "${RUNS:-3}" "$@"; }
load='import gzip,json,sys; json.load(gzip.open(sys.argv[1]) if sys.argv[1].endswith(".gz") else open(sys.argv[1],"rb"))'

echo "load $(cut -d' ' -f1-3 /proc/loadavg), $(getconf _NPROCESSORS_ONLN) CPUs, $(go version | cut -d' ' -f3), $(command -v python3 >/dev/null && python3 --version || echo 'no python3'); s and MB, median of ${RUNS:-3}"
printf '%-28s %8s %10s | %8s %8s %7s | %8s %8s | %8s %8s %7s | %7s %7s %7s\n' trace 'text MB' events triage user 'peak MB' gzip user json user 'peak MB' '/gzip' 'json/' B/event
for t in "${traces[@]}"; do
	read -r bytes events < <("$work/llmdyno" profile info "$t" --format json | awk -F'[:,]' '/^  "bytes":/ {b = $2} /^  "events":/ {e = $2} END {print b + 0, e + 0}')
	read -r wall user rss < <(measure "$work/llmdyno" profile triage "$t")
	case $t in
	*.gz) read -r gwall guser _ < <(measure gzip -dc "$t") ;;
	*) gwall=- guser=- ;;
	esac
	jwall=- juser=- jrss=-
	if command -v python3 >/dev/null && ((bytes < ${JSON_LIMIT:-3000000000})); then
		read -r jwall juser jrss < <(RUNS=1 measure python3 -c "$load" "$t")
	fi
	awk -v name="$(basename "$(dirname "$t")")/$(basename "$t")" -v bytes="$bytes" -v events="$events" -v w="$wall" -v u="$user" -v r="$rss" -v gw="$gwall" -v gu="$guser" -v jw="$jwall" -v ju="$juser" -v jr="$jrss" 'BEGIN {
		sub(/^tmp\.[^\/]*\//, "", name); if (length(name) > 28) name = substr(name, length(name) - 27)
		over = gw == "-" ? "-" : sprintf("%.2f", w / gw); json = jw == "-" ? "-" : sprintf("%.1f", jw / w)
		per = events > 0 && r > 64 ? sprintf("%.0f", (r - 64) * 1048576 / events) : "0"
		printf "%-28s %8.1f %10d | %8s %8s %7s | %8s %8s | %8s %8s %7s | %7s %7s %7s\n", name, bytes / 1e6, events, w, u, r, gw, gu, jw, ju, jr, over, json, per }'
done
echo "load $(cut -d' ' -f1-3 /proc/loadavg)"
