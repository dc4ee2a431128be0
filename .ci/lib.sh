# shellcheck shell=bash
# What every script here shares. Sourced, never run.

# The top of the repository, and where things that may be kept between runs are put.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
: "${HOME:=/root}"
export HOME
cache=${XDG_CACHE_HOME:-$HOME/.cache}/belljar
out=$top/.ci/out

# A Go unpacked in the usual place is found even where the login profile was not read.
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
export PATH

# A tree that belongs to somebody else (sudo, a container's mount) must still build.
export GOFLAGS="${GOFLAGS:+$GOFLAGS }-buildvcs=false"

# The unprivileged account that tests run as; .ci/setup makes it.
# shellcheck disable=SC2034
test_user=belljar-test

# Pinned, and kept out of go.mod: a program that imports belljar does not need them.
# shellcheck disable=SC2034
gofumpt_version=v0.12.0
# shellcheck disable=SC2034
staticcheck_version=v0.8.2

say() { printf 'belljar: %s\n' "$*"; }
die() { printf 'belljar: %s\n' "$*" >&2; exit 1; }

# as_root COMMAND...: run it as root, by sudo where needed.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "root is needed to run: $* (run make as root, or install sudo)"
	fi
}

# find_virtiofsd: where the daemon that shares a folder with a virtual machine stands; it is never in the PATH.
find_virtiofsd() {
	local f
	for f in /usr/libexec/virtiofsd /usr/lib/qemu/virtiofsd /usr/lib/virtiofsd; do
		[ -x "$f" ] && echo "$f" && return
	done
	return 1
}

# modules: the folder of every Go module of the repository, the library's own first.
modules() {
	echo .
	(cd "$top" && find . -mindepth 2 -name go.mod -not -path '*/testdata/*' -printf '%h\n' | sort)
}

# in_modules COMMAND...: run it in each module; all of them run, and one failure is a failure.
in_modules() {
	local dir status=0
	for dir in $(modules); do
		(cd "$top/$dir" && "$@") || status=1
	done
	return $status
}

# find_qemu_arm64: what runs programs of arm64 on this machine; its name depends on the Debian.
find_qemu_arm64() { command -v qemu-aarch64-static || command -v qemu-aarch64; }
