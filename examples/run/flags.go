package main

import (
	"errors"
	"path/filepath"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/sandbox"
)

// flags are all there are, in the order of the help.
var flags []flag

// The table is filled in here because --help, which is in it, prints it.
func init() {
	flags = []flag{
		{long: "interactive", short: "i", help: "connect standard input, which is empty otherwise", turn: func(r *request, on bool) error { r.stdin = on; return nil }},
		{long: "tty", short: "t", help: "give the program a terminal; standard input must be one", turn: func(r *request, on bool) error { r.tty = on; return nil }},

		{long: "memory", short: "m", value: "SIZE", help: "limit memory: 50m, 1.5g; without swap", option: "WithMemory", set: setMemory},
		{long: "memory-swap", value: "SIZE", help: "limit memory and swap together; -1: swap without limit", option: "WithSwap", set: func(r *request, v string) error { r.swap = v; return nil }},
		{long: "cpus", value: "N", help: "limit CPU time per second: 0.5 is half a CPU", option: "WithCPUs", set: setCPUs},
		{long: "pids", also: "pids-limit", value: "N", help: "limit processes and threads; -1: no limit", option: "WithPids", set: setPids},
		{long: "cpu-time", value: "TIME", help: "limit CPU time as a whole: 500ms, 2s, 1m", option: "WithCPUTime", set: duration(sandbox.WithCPUTime)},
		{long: "time-limit", value: "TIME", help: "limit how long the program takes: 500ms, 2s, 1m", option: "WithWallTime", set: duration(sandbox.WithWallTime)},
		{long: "output", value: "SIZE", help: "limit standard output and error together", option: "WithOutput", set: func(r *request, v string) error { r.limit(sandbox.WithOutput(v)); return nil }},
		{long: "ulimit", value: "NAME=SOFT[:HARD]", help: "set a resource limit: nofile=64", option: "WithRlimit", set: setUlimit},
		{long: "best-effort", help: "do without limits that this host cannot enforce, and say so", turn: func(r *request, on bool) error { r.giveUp = on; return nil }},

		{long: "rootfs", value: "DIR", help: "the root, read-only; without it the host's /usr and friends", option: "WithRootfs", set: func(r *request, v string) error { r.rootfs = v; r.want(sandbox.WithRootfs(v)); return nil }},
		{long: "image", value: "PATH[:NAME]", help: "the root is a container image: an OCI layout or an archive of docker save; without a program its own is run", option: "WithImage", set: setImage},
		{long: "store", value: "DIR", help: "where layers of images are kept, for --image; the library's own place if not given", set: setStore},
		{long: "volume", short: "v", value: "SRC:DST[:ro|rw,noexec]", help: "show a file or directory of the host at DST", option: "WithBind", set: setVolume},
		{long: "tmpfs", value: "DST[:SIZE]", help: "an empty directory in memory at DST; 64m if no size is given", option: "WithTmpfs", set: setTmpfs},
		{long: "read-only", help: "the root is read-only, always: -v and --tmpfs give room to write", turn: setReadOnly},

		{long: "hostname", short: "h", value: "NAME", help: "the host name inside", option: "WithHostname", set: func(r *request, v string) error { r.want(sandbox.WithHostname(v)); return nil }},
		{long: "net", also: "network", value: "none|host", help: "no network but a loopback, or the host's", set: setNet},
		{long: "add-host", value: "NAME:IP", help: "add a line to /etc/hosts", option: "WithHosts", set: setHost},
		{long: "dns", value: "IP", help: "a name server, for --net host", option: "WithResolvConf", set: func(r *request, v string) error { r.nameserve = append(r.nameserve, v); return nil }},

		{long: "env", short: "e", value: "NAME[=VALUE]", help: "set a variable; without a value the one set here", option: "WithEnv", set: setEnv},
		{long: "workdir", short: "w", value: "DIR", help: "the working directory", option: "WithDir", set: func(r *request, v string) error { r.want(sandbox.WithDir(v)); return nil }},
		{long: "user", short: "u", value: "UID[:GID]", help: "who the program is inside; 1000:1000 if not given", option: "WithCredential", set: setUser},
		{long: "group-add", value: "GID", help: "a supplementary group", option: "WithCredential", set: setGroup},
		{long: "cap-add", value: "CAP", help: "a capability in the sandbox's user namespace", option: "WithCapabilities", set: setCaps},
		{long: "seccomp", value: "FILE|default|kill", help: "the system call filter: a profile in docker's form; or kill instead of EPERM", option: "WithSeccomp", set: setSeccomp},

		{long: "learn", value: "FILE", help: "write a policy for --seccomp that has the system calls the program makes; a report at the end", set: func(r *request, v string) error { r.learn = v; return nil }},

		{long: "name", value: "NAME", help: "a name for logs and cgroups", option: "WithName", set: func(r *request, v string) error { r.want(sandbox.WithName(v)); return nil }},
		{long: "rm", help: "remove everything at the end, which always happens", turn: setRemove},
		{long: "stats", help: "print the accounts at the end", turn: func(r *request, on bool) error { r.stats = on; return nil }},
		{long: "plan", help: "print every system call of the set-up; a program is optional", turn: func(r *request, on bool) error { r.plan = on; return nil }},
		{long: "report", help: "print what is enforced and what is not; a program is optional", turn: func(r *request, on bool) error { r.report = on; return nil }},
		{long: "version", help: "print the version", turn: func(r *request, on bool) error { r.version = on; return nil }},
		{long: "help", help: "print this", turn: func(r *request, on bool) error { r.help = on; return nil }},
	}
}

func setNet(r *request, v string) error {
	switch v {
	case "none":
	case "host":
		r.want(sandbox.WithHost(namespace.Net))
	default:
		return errors.New("is neither none nor host")
	}
	return nil
}

func setImage(r *request, v string) error {
	if v == "" {
		return errors.New("is empty")
	}
	r.image = v
	return nil
}

func setStore(r *request, v string) error {
	dir, err := filepath.Abs(v)
	if v == "" {
		err = errors.New("is empty")
	}
	r.store = dir
	return err
}

func setReadOnly(_ *request, on bool) error {
	if !on {
		return errors.New("the root is always read-only: give room to write with -v or --tmpfs")
	}
	return nil
}

func setRemove(_ *request, on bool) error {
	if !on {
		return errors.New("nothing of a sandbox is ever kept: keep files in a volume")
	}
	return nil
}
