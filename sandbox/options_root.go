package sandbox

import (
	"io/fs"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/belljar-go/belljar/rootfs"
)

// What WithBind can be asked for.
const (
	// ReadOnly makes a bind, and all that is mounted below it, read-only.
	ReadOnly = rootfs.BindReadOnly
	// NoExec forbids to execute what is on a bind.
	NoExec = rootfs.BindNoExec
	// Optional leaves a bind out if its source does not exist.
	Optional = rootfs.BindOptional
)

// WithRootfs makes a directory of the host the root, read-only, with a /proc and a /dev
// over its own. A relative path starts at the host program's current directory. Mount
// points have to exist in it. Without this option the root is the default root.
func WithRootfs(dir string) Option {
	o := option{label: "WithRootfs", text: dir, key: "WithRootfs", value: dir}
	o.set = func(s *spec, _ bool) error {
		abs, err := hostPath(o, dir)
		if err != nil {
			return err
		}
		s.rootfsDir = abs
		return opError(o.label, rootfs.Base{Dir: abs}.Validate())
	}
	return o
}

// WithBind shows a file or directory of the host, src, at dst inside: writable by whoever
// may write to it on the host, unless ReadOnly is among the flags. A relative src starts
// at the host program's current directory; dst is absolute. Binds are recursive, nosuid
// and nodev. What other options put at a path inside a bind needs a place there that exists: nothing is made on the host.
func WithBind(src, dst string, flags ...rootfs.Flags) Option {
	var all rootfs.Flags
	for _, f := range flags {
		all |= f
	}
	o := option{label: "WithBind", text: src + ":" + dst, soft: true}
	o.set = func(s *spec, soft bool) error {
		abs, err := hostPath(o, src)
		if err != nil {
			return err
		}
		bind := rootfs.Bind{Source: abs, Target: dst, Flags: all}
		if soft {
			bind.Flags |= Optional
		}
		return s.addOp(o, bind)
	}
	return o
}

// WithTmpfs mounts an empty file system in memory at dst, which everybody inside may write
// to, with room for size, such as "64m". What is stored in it counts as memory.
func WithTmpfs(dst, size string) Option {
	o := option{label: "WithTmpfs", text: dst + " " + size}
	n, why := parseSize(size)
	if why == "" && n <= 0 {
		why = "is not positive"
		if n == NoLimit {
			why = "is no bound: a tmpfs needs one"
		}
	}
	o.set = func(s *spec, _ bool) error {
		if why != "" {
			return invalid(o.label, size, why)
		}
		return s.addOp(o, rootfs.Tmpfs{Target: dst, Size: n, Mode: fs.ModeSticky | 0o777})
	}
	return o
}

// WithFile puts a file with the given content and permissions at dst. It belongs to the
// job. Mode 0 stands for 0644.
func WithFile(dst string, data []byte, mode fs.FileMode) Option {
	data = slices.Clone(data)
	o := option{label: "WithFile", text: dst}
	o.set = func(s *spec, _ bool) error {
		return s.addOp(o, rootfs.File{Target: dst, Data: data, Mode: mode, JobOwned: true})
	}
	return o
}

// WithHosts adds names and their addresses to /etc/hosts, beside localhost and the
// sandbox's own name.
func WithHosts(addresses map[string]string) Option {
	addresses = maps.Clone(addresses)
	names := slices.Sorted(maps.Keys(addresses))
	o := option{label: "WithHosts", text: strings.Join(names, ",")}
	o.set = func(s *spec, _ bool) error {
		if len(names) == 0 {
			return o.fail("names no host")
		}
		for _, name := range names {
			if why := hostnameFault(name, 253); why != "" {
				return invalid(o.label, name, why)
			}
			if err := s.addHost(o, name, addresses[name]); err != nil {
				return err
			}
		}
		return nil
	}
	return o
}

func (s *spec) addHost(o option, name, address string) error {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Zone() != "" {
		return invalid(o.label, address, "is no IP address")
	}
	old := s.superseded("host " + name)
	if before, ok := s.hosts[name]; ok && !old && before != ip.String() {
		return invalid(o.label, name, "was given before with another address, "+before)
	}
	if s.hosts == nil {
		s.hosts = map[string]string{}
	}
	s.hosts[name] = ip.String()
	return nil
}

// WithResolvConf sets the lines of /etc/resolv.conf, which is empty otherwise. A line may
// be just the address of a name server.
func WithResolvConf(lines ...string) Option {
	lines = slices.Clone(lines)
	fault := ""
	for i, l := range lines {
		if ip, err := netip.ParseAddr(l); err == nil {
			lines[i] = "nameserver " + ip.String()
		} else if why := resolvFault(l); why != "" && fault == "" {
			fault = why
		}
	}
	return single("WithResolvConf", strings.Join(lines, "\n"), lines, fault, func(s *spec, v []string) {
		s.resolvConf = slices.Clone(v)
	})
}

// resolvFault lets through the lines of resolv.conf(5).
func resolvFault(line string) string {
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return "has a control character in a line"
	}
	word, _, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	switch word {
	case "nameserver", "search", "domain", "options", "sortlist":
		return ""
	}
	return "has a line that is neither an address nor begins with nameserver, search, domain, options or sortlist"
}

// hostPath makes a path of the host absolute. An empty one is refused: it is more likely a
// variable that was never set than the current directory.
func hostPath(o option, p string) (string, error) {
	switch {
	case p == "":
		return "", invalid(o.label, p, "is empty")
	case strings.ContainsRune(p, 0):
		return "", invalid(o.label, p, "contains a NUL byte")
	}
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", mistaken(o.label, p, err)
	}
	return abs, nil
}
