package rootfs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const nobody = 65534 // the overflow id: what ids that are not mapped are seen as

// Etc is what the files in a minimal /etc of its own say.
type Etc struct {
	Hostname   string
	UID, GID   uint32            // of the job
	Home       string            // of the job
	Hosts      map[string]string // further names and their addresses
	ResolvConf []string          // lines of resolv.conf, none by default
}

// DefaultEtc returns the Etc of a sandbox nobody asked anything of: host name belljar,
// and a job with user and group 1000 at home in /box.
func DefaultEtc() Etc {
	return Etc{Hostname: "belljar", UID: 1000, GID: 1000, Home: "/box"}
}

// Ops returns the files: passwd, group, hostname, hosts, nsswitch.conf and resolv.conf.
// They say nothing of the host.
func (e Etc) Ops() []Op {
	return []Op{
		File{Target: "/etc/group", Data: []byte(e.group())},
		e.HostnameFile(),
		e.HostsFile(),
		// The host's own may name modules, such as sss or ldap, that ask daemons.
		File{Target: "/etc/nsswitch.conf", Data: []byte("passwd: files\ngroup: files\nhosts: files dns\n")},
		File{Target: "/etc/passwd", Data: []byte(e.passwd())},
		e.ResolvConfFile(),
	}
}

// HostsFile returns /etc/hosts: localhost, the host name, and Hosts by name.
func (e Etc) HostsFile() File {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	if _, given := e.Hosts[e.Hostname]; e.Hostname != "" && e.Hostname != "localhost" && !given {
		fmt.Fprintf(&b, "127.0.1.1\t%s\n", e.Hostname)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Hosts)) {
		fmt.Fprintf(&b, "%s\t%s\n", e.Hosts[name], name)
	}
	return File{Target: "/etc/hosts", Data: []byte(b.String())}
}

// HostnameFile returns /etc/hostname.
func (e Etc) HostnameFile() File {
	return File{Target: "/etc/hostname", Data: []byte(e.Hostname + "\n")}
}

// ResolvConfFile returns /etc/resolv.conf.
func (e Etc) ResolvConfFile() File {
	var data string
	for _, l := range e.ResolvConf {
		data += l + "\n"
	}
	return File{Target: "/etc/resolv.conf", Data: []byte(data)}
}

func (e Etc) passwd() string {
	lines := "root:x:0:0:root:/:/bin/sh\n"
	if e.UID != 0 && e.UID != nobody {
		lines += fmt.Sprintf("job:x:%d:%d:job:%s:/bin/sh\n", e.UID, e.GID, e.Home)
	}
	return lines + fmt.Sprintf("nobody:x:%d:%[1]d:nobody:/:/bin/false\n", nobody)
}

func (e Etc) group() string {
	lines := "root:x:0:\n"
	if e.GID != 0 && e.GID != nobody {
		lines += fmt.Sprintf("job:x:%d:\n", e.GID)
	}
	return lines + fmt.Sprintf("nogroup:x:%d:\n", nobody)
}
