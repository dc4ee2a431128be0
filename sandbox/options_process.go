package sandbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/seccomp"
)

// WithName names the sandbox, for logs and for the folders and cgroups that it has on the
// host: up to 64 letters, digits, dots, hyphens and underscores, the first a letter or
// digit.
func WithName(name string) Option {
	fault := ""
	switch {
	case name == "":
		fault = "is empty"
	case len(name) > 64:
		fault = "is longer than 64 bytes"
	case !only(name[:1], alphanumeric) || !only(name, alphanumeric+"._-"):
		fault = "has a character that is no letter, digit, dot, hyphen or underscore, or does not begin with a letter or digit"
	}
	return single("WithName", name, name, fault, func(s *spec, v string) { s.name = v })
}

// WithCredential sets the user id, the group id and the supplementary groups inside.
// Without it they are 1000, 1000 and none. Ids are from 0 to 2147483647: larger ones have
// been taken for negative ones, and for root (CVE-2024-40635). Root inside is not root on
// the host, and has to be asked for in this way.
func WithCredential(uid, gid int, groups ...int) Option {
	all := append([]int{uid, gid}, groups...)
	texts := make([]string, len(all))
	ids := make([]uint32, len(all))
	fault := ""
	for i, id := range all {
		texts[i], ids[i] = strconv.Itoa(id), uint32(id)
		if int64(id) < 0 || int64(id) > 1<<31-1 {
			fault = "has an id that is not between 0 and 2147483647"
		}
	}
	if len(groups) > maxGroups {
		fault = fmt.Sprintf("has more groups than the kernel's %d", maxGroups)
	}
	slices.Sort(ids[2:])
	ids = append(ids[:2:2], slices.Compact(ids[2:])...)
	return single("WithCredential", strings.Join(texts, " "), ids, fault, func(s *spec, ids []uint32) {
		s.uid, s.gid, s.groups = ids[0], ids[1], slices.Clone(ids[2:])
	})
}

// maxGroups is NGROUPS_MAX (Linux 2.6.4).
const maxGroups = 65536

// WithCapabilities gives the program capabilities in the sandbox's user namespace, by name
// with or without the CAP_, in either case. Without it there are none.
func WithCapabilities(names ...string) Option {
	var numbers []uintptr
	fault := ""
	if len(names) == 0 {
		fault = "names no capability"
	}
	for _, name := range names {
		n := slices.Index(capabilities, strings.TrimPrefix(strings.ToUpper(name), "CAP_"))
		if n < 0 {
			fault = fmt.Sprintf("%q is no capability", name)
			break
		}
		numbers = append(numbers, uintptr(n))
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	return softly(single("WithCapabilities", strings.Join(names, ","), numbers, fault, func(s *spec, v []uintptr) {
		s.caps = slices.Clone(v)
	}))
}

// capabilities are in the order of their numbers (capabilities(7)); the last is of Linux
// 5.9.
var capabilities = strings.Fields(`
	CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
	NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
	SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
	SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG
	WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)

// WithEnv adds variables, each "NAME=value", to the environment of the commands, which
// holds nothing of the host program's: only a PATH of the usual folders, unless one is
// given here.
func WithEnv(vars ...string) Option {
	vars = slices.Clone(vars)
	o := option{label: "WithEnv"}
	o.set = func(s *spec, _ bool) error {
		for _, v := range vars {
			name, _, _ := strings.Cut(v, "=")
			if why := envFault(v); why != "" {
				return invalid(o.label, v, why)
			}
			key := "WithEnv " + name
			if s.superseded(key) {
				delete(s.values, key)
				s.dropEnv(name)
			}
			if before, ok := s.values[key]; ok && before.text != v {
				return invalid(o.label, v, before.contradicted())
			} else if ok {
				continue
			}
			s.values[key] = given{v, v}
			s.env = append(s.env, v)
		}
		return nil
	}
	return o
}

func envFault(v string) string {
	switch {
	case strings.ContainsRune(v, 0):
		return "contains a NUL byte"
	case !strings.Contains(v, "="):
		return "is not of the form NAME=value"
	case v[0] == '=':
		return "has no name"
	}
	return ""
}

// withPath returns the environment with a PATH, sorted.
func withPath(env []string) []string {
	if !slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "PATH=") }) {
		env = append(env, defaultPath)
	}
	slices.Sort(env)
	return env
}

// WithDir sets the working directory of the commands, absolute, inside. Without it it is
// /box in the default root and / in another.
func WithDir(path string) Option {
	return single("WithDir", path, path, dirFault(path), func(s *spec, v string) { s.dir = v })
}

// dirFault says why a path cannot be a working directory, or "". One in /proc/self/fd has
// led out of containers (CVE-2024-21626).
func dirFault(path string) string {
	if why := opFault(rootfs.ReadOnly{Target: path}); why != "" {
		return why
	}
	if rootfs.Within(path, "/proc") {
		return "is in /proc"
	}
	return ""
}

// WithSeccomp sets the system call filter. Without it it is seccomp.Default. Handlers, made by [seccomp.Notify], answer for the calls that the policy
// asks about (seccomp.Ask), and for those they name: see [seccomp.Policy.Handled]. A policy that asks about a call for which there is no handler is an
// error. Handlers run in the host program, while the calling thread waits; what goes wrong in them is an error of Cmd.Wait. The execve that
// starts a command is under the filter too: Start waits for the answer.
//
// Under a policy that kills (seccomp.KillProcess) a denied call ends the whole command, with the verdict SyscallDenied and the call in
// Result.Syscall.
func WithSeccomp(policy seccomp.Policy, handlers ...seccomp.Handler) Option {
	policy, handlers = policy.Clone(), slices.Clone(handlers)
	o := option{label: "WithSeccomp", key: "WithSeccomp", value: filterValue{policy, handlers}, soft: true}
	o.set = func(s *spec, _ bool) error {
		p, err := policy.Handled(handlers...)
		if err == nil {
			err = p.Validate()
		}
		if err != nil {
			return mistaken(o.label, "policy", err)
		}
		p = p.Clone()
		s.policy, s.handlers = &p, handlers
		return nil
	}
	return o
}

// filterValue is what is compared where the option is given twice. Functions equal nothing.
type filterValue struct {
	policy   seccomp.Policy
	handlers []seccomp.Handler
}

// hasAction tells whether a policy decides on any of the actions.
func hasAction(p seccomp.Policy, actions ...seccomp.Action) bool {
	is := func(a seccomp.Action) bool { return slices.Contains(actions, a) }
	return is(p.Default) || is(p.Unknown) || slices.ContainsFunc(p.Rules, func(r seccomp.Rule) bool { return is(r.Action) })
}
