package rootfs

import (
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// Facts is what the default root has to know of the host: what stands at the paths that it
// takes over. The zero Facts are a host with nothing on it.
type Facts struct {
	entries map[string]Entry
}

// Entry is what stands at one path of the host.
type Entry struct {
	Type fs.FileMode // [fs.ModeDir], [fs.ModeSymlink], or 0 for a regular file
	Link string      // what a symbolic link reads
}

// rootDirs are what the default root takes from the host's, beside parts of /etc. On most
// hosts of today all but /usr are links into it.
var rootDirs = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}

// etcPaths are what the default root takes from the host's /etc: what programs in /usr
// cannot do without and what tells nothing of users, services or secrets. Folders with
// private keys in them, such as /etc/ssl and /etc/pki/tls, are taken in parts.
var etcPaths = []string{
	"/etc/alternatives",
	"/etc/ca-certificates",
	"/etc/ca-certificates.conf",
	"/etc/crypto-policies",
	"/etc/ld.so.cache",
	"/etc/ld.so.conf",
	"/etc/ld.so.conf.d",
	"/etc/localtime",
	"/etc/pki/ca-trust",
	"/etc/pki/tls/cert.pem",
	"/etc/pki/tls/certs",
	"/etc/pki/tls/openssl.cnf",
	"/etc/ssl/cert.pem",
	"/etc/ssl/certs",
	"/etc/ssl/openssl.cnf",
	"/etc/timezone",
}

// javaPrefix begins the names of folders to which Debian's Java has links, and without
// which it does not start.
const javaPrefix = "/etc/java-"

// NewFacts returns the facts of a host with these entries, by path. Paths the default root
// takes no notice of are left out.
func NewFacts(entries map[string]Entry) Facts {
	f := Facts{entries: map[string]Entry{}}
	for p, e := range entries {
		if taken(p) {
			f.entries[p] = e
		}
	}
	return f
}

// HostFacts looks at this host. It follows no link and opens nothing but the directory
// /etc. What cannot be looked at is taken as missing.
func HostFacts() Facts {
	f := Facts{entries: map[string]Entry{}}
	paths := slices.Concat(rootDirs, etcPaths)
	if names, err := os.ReadDir("/etc"); err == nil {
		for _, n := range names {
			if p := "/etc/" + n.Name(); taken(p) {
				paths = append(paths, p)
			}
		}
	}
	for _, p := range paths {
		if e, ok := look(p); ok {
			f.entries[p] = e
		}
	}
	return f
}

func look(p string) (Entry, bool) {
	info, err := os.Lstat(p)
	if err != nil {
		return Entry{}, false
	}
	e := Entry{Type: info.Mode().Type()}
	if e.Type == fs.ModeSymlink {
		e.Link, err = os.Readlink(p)
	}
	return e, err == nil
}

// taken reports whether the default root takes a path over.
func taken(p string) bool {
	return slices.Contains(rootDirs, p) || slices.Contains(etcPaths, p) ||
		strings.HasPrefix(p, javaPrefix) && path.Dir(p) == "/etc" && pathFault(p) == ""
}

// op returns the operation that shows a path of the host at the same path inside, and
// whether there is one. A link into /usr, which is the same inside, stays a link; another
// is replaced by what it leads to.
func (f Facts) op(p string, flags Flags) (Op, bool) {
	e, ok := f.entries[p]
	if !ok {
		return nil, false
	}
	switch e.Type {
	case fs.ModeSymlink:
		to := e.Link
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(p), to)
		}
		if l := (Symlink{Target: p, Link: e.Link}); Within(path.Clean(to), "/usr") && l.Validate() == nil {
			return l, true
		}
	case fs.ModeDir, 0:
	default:
		return nil, false // a device, socket or pipe is nothing a root needs
	}
	return Bind{Source: p, Target: p, Flags: flags}, true
}

// etc returns the paths of /etc that there are, in order.
func (f Facts) etc() []string {
	var paths []string
	for p := range f.entries {
		if strings.HasPrefix(p, "/etc/") {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}
