package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/belljar-go/belljar/namespace"
)

// WithPID asks for a PID namespace of its own, which is the default: nothing outside can
// be seen or signalled, and nothing inside outlives the sandbox.
func WithPID() Option { return own("WithPID", namespace.PID) }

// WithMount asks for a mount namespace of its own, which is the default.
func WithMount() Option { return own("WithMount", namespace.Mount) }

// WithUTS asks for a UTS namespace of its own, which is the default: see WithHostname.
func WithUTS() Option { return own("WithUTS", namespace.UTS) }

// WithIPC asks for an IPC namespace of its own, which is the default.
func WithIPC() Option { return own("WithIPC", namespace.IPC) }

// WithNet asks for a network namespace of its own, which is the default: with nothing in
// it but a loopback.
func WithNet() Option { return own("WithNet", namespace.Net) }

// WithUser asks for a user namespace of its own, which is the default.
func WithUser() Option { return own("WithUser", namespace.User) }

// WithCgroupNS asks for a cgroup namespace of its own, which is the default.
func WithCgroupNS() Option { return own("WithCgroupNS", namespace.Cgroup) }

func own(label string, k namespace.Kind) Option {
	return softly(single(label, "", k, "", func(s *spec, k namespace.Kind) { s.asked = s.asked.With(k) }))
}

// WithTime asks for a time namespace of its own, in which the monotonic and the boot-time
// clock are ahead of the host's by offset, or behind if it is negative. With a second
// duration the first is of the monotonic clock alone, and the second of the boot-time
// clock. The real-time clock is always the host's.
//
// It needs Linux 6.2. Such a sandbox starts commands in a slower way; its Report says so.
func WithTime(offset time.Duration, boottime ...time.Duration) Option {
	offsets := namespace.Offsets{Monotonic: offset, Boottime: offset}
	fault := ""
	switch len(boottime) {
	case 0:
	case 1:
		offsets.Boottime = boottime[0]
	default:
		fault = "takes at most two durations"
	}
	if err := offsets.Validate(); err != nil && fault == "" {
		fault = err.Error()
	}
	text := strings.Trim(fmt.Sprint(append([]time.Duration{offset}, boottime...)), "[]")
	return softly(single("WithTime", text, offsets, fault, func(s *spec, o namespace.Offsets) { s.offsets = &o }))
}

// WithHost leaves the sandbox in the host's namespaces of these kinds: it opens up what is
// closed by default. WithHost(namespace.Net) gives it the host's network, and what listens
// on its loopback and its abstract sockets. With namespace.User ids inside are the host's
// own, so that WithCredential has to say which; with namespace.Mount it sees the host's
// files, and there is no root to ask for.
func WithHost(ns ...namespace.Kind) Option {
	kinds := slices.Clone(ns)
	var names []string
	for _, k := range kinds {
		names = append(names, k.String())
	}
	o := option{label: "WithHost", text: strings.Join(names, ",")}
	o.set = func(s *spec, _ bool) error {
		if len(kinds) == 0 {
			return o.fail("names no namespace")
		}
		for _, k := range kinds {
			if !k.Valid() {
				return o.fail("names something that is no namespace")
			}
		}
		s.host = s.host.With(kinds...)
		return nil
	}
	return o
}

// WithHostname sets the host name inside: up to 64 letters, digits, dots, hyphens and
// underscores. Without it the name is "belljar".
func WithHostname(name string) Option {
	return softly(single("WithHostname", name, name, hostnameFault(name, 64), func(s *spec, v string) { s.hostname = v }))
}

// WithIDMap says which ids of the host the user and group ids inside stand for. Without it
// a range is chosen. The maps have to cover the ids of WithCredential, and cannot map the
// host's root: to run with the host's own ids there is WithHost(namespace.User).
func WithIDMap(uids, gids []namespace.IDMap) Option {
	type maps struct{ uids, gids namespace.IDMaps }
	m := maps{slices.Clone(uids), slices.Clone(gids)}
	o := option{label: "WithIDMap", key: "WithIDMap", text: mapText(m.uids) + "; " + mapText(m.gids), value: m}
	o.set = func(s *spec, _ bool) error {
		for _, list := range []namespace.IDMaps{m.uids, m.gids} {
			if err := list.Validate(); err != nil {
				return mistaken(o.label, o.text, err)
			}
			if _, ok := list.MapFromHost(0); ok {
				return o.fail("maps the host's root")
			}
		}
		s.uidMap, s.gidMap = slices.Clone(m.uids), slices.Clone(m.gids)
		return nil
	}
	return o
}

func mapText(m namespace.IDMaps) string {
	return strings.ReplaceAll(strings.TrimSpace(m.Text()), "\n", ", ")
}

// hostnameFault keeps to what no program and no /etc/hosts takes for something else. The
// kernel's own limit is __NEW_UTS_LEN, 64 bytes of anything; that of DNS is 253.
func hostnameFault(name string, most int) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > most:
		return fmt.Sprintf("is longer than %d bytes", most)
	case strings.Trim(name[:1], ".-") == "" || strings.Trim(name[len(name)-1:], ".-") == "":
		return "begins or ends with a dot or a hyphen"
	case strings.Contains(name, ".."):
		return "has an empty label"
	case !only(name, alphanumeric+"._-"):
		return "has a character that is no letter, digit, dot, hyphen or underscore"
	}
	return ""
}

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// only reports whether every byte of s is in the ASCII set.
func only(s, set string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(set, r) })
}
