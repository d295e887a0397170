#!/bin/sh
# Brings a real engine to this machine: llama-server from Debian's packages,
# unpacked beside the system without root, and a small random model for it.
#
#   scripts/real-llamacpp.sh          fetch what is missing, say how to use it
#   scripts/real-llamacpp.sh --fresh  fetch again, for the newest packages
#
# Everything lies under .cache/llamacpp in the repository, or under
# $LLMDYNO_CACHE/llamacpp. A second run fetches nothing.
#
# Exit codes: 0 ready; 77 the packages cannot be had here (one line that begins
# with "skip:" says why); 1 something else went wrong.
set -eu

repo=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
root=${LLMDYNO_CACHE:-$repo/.cache}/llamacpp
packages="llama.cpp-tools libllama0 libggml0 libc6 libgcc-s1 libstdc++6 libgomp1 libssl3t64 zlib1g libzstd1"

skip() {
	echo "skip: llama-server cannot be had here: $1"
	exit 77
}

# mirror prints the address and the keyring of the machine's own package source.
mirror() {
	for f in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/*.sources; do
		[ -r "$f" ] || continue
		m=$(awk 'tolower($1) == "uris:" {print $2; exit}' "$f")
		[ -n "$m" ] && { echo "$m"; return; }
	done
	[ -r /etc/apt/sources.list ] || return 0
	awk '$1 == "deb" {for (i = 2; i <= NF; i++) if ($i ~ /^http/) {print $i; exit}}' /etc/apt/sources.list
}

fetch() {
	for tool in apt-get dpkg awk; do
		command -v "$tool" >/dev/null || skip "no $tool on this machine"
	done
	[ "$(uname -m)" = x86_64 ] || skip "the recipe is for x86_64, this is $(uname -m)"
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -r "$keyring" ] || skip "no Debian archive keyring"
	source=$(mirror)
	[ -n "$source" ] || skip "no package source is configured"

	new=$root/new.$$
	trap 'rm -rf "$new"' EXIT
	trap 'exit 1' HUP INT TERM
	mkdir -p "$new/lists/partial" "$new/cache/archives/partial" "$new/debs" "$new/tree"
	echo "deb [signed-by=$keyring] $source sid main" >"$new/sid.list"
	set -- -qq -o "Dir::Etc::sourcelist=$new/sid.list" -o Dir::Etc::sourceparts=- \
		-o "Dir::State::lists=$new/lists" -o "Dir::Cache=$new/cache" \
		-o APT::Update::Error-Mode=any -o Acquire::Retries=2 -o Acquire::http::Timeout=30
	if ! timeout 180 apt-get "$@" update >"$new/log" 2>&1; then
		skip "package lists: $(grep -v '^W:' "$new/log" | tail -n 1)"
	fi
	# shellcheck disable=SC2086 # a list of words
	if ! (cd "$new/debs" && timeout 300 apt-get "$@" download $packages) >"$new/log" 2>&1; then
		skip "packages: $(grep -v '^W:' "$new/log" | tail -n 1)"
	fi
	for deb in "$new"/debs/*.deb; do
		dpkg -x "$deb" "$new/tree"
	done
	rm -rf "$root/tree"
	mv "$new/tree" "$root/tree"
	rm -rf "$new"
	trap - EXIT
}

# backend picks the compute library for this processor. The server finds one by
# itself only when it is installed under /usr.
backend() {
	if grep -qw avx2 /proc/cpuinfo; then echo haswell; else echo x64; fi
}

# wrapper writes the command that runs the unpacked server with its own loader
# and C library: the packages need a newer one than a stable system has.
wrapper() {
	mkdir -p "$root/bin"
	cat >"$root/bin/llama-server.$$" <<SCRIPT
#!/bin/sh
# Written by scripts/real-llamacpp.sh.
tree=\$(CDPATH='' cd -- "\$(dirname -- "\$0")/../tree" && pwd)
lib=\$tree/usr/lib/x86_64-linux-gnu
GGML_BACKEND_PATH=\${GGML_BACKEND_PATH:-\$lib/ggml/backends0/libggml-cpu-$(backend).so}
export GGML_BACKEND_PATH
exec "\$lib/ld-linux-x86-64.so.2" --library-path "\$lib:\$lib/llama" "\$tree/usr/bin/llama-server" "\$@"
SCRIPT
	chmod 755 "$root/bin/llama-server.$$"
	mv "$root/bin/llama-server.$$" "$root/bin/llama-server"
}

mkdir -p "$root"
if [ "${1:-}" = --fresh ] || [ ! -x "$root/tree/usr/bin/llama-server" ]; then
	fetch
fi
wrapper
if ! version=$("$root/bin/llama-server" --version 2>&1); then
	skip "the unpacked server does not run: $(echo "$version" | tail -n 1)"
fi
(cd "$repo" && go run ./scripts/tinymodel -o "$root/tiny.gguf")

echo "$version" | head -n 1
cat <<SAY
server  $root/bin/llama-server
model   $root/tiny.gguf
try     PATH="$root/bin:\$PATH" go run ./cmd/llmdyno bench run examples/llamacpp.yaml
SAY
