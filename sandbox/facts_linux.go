package sandbox

import (
	"bufio"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"golang.org/x/sys/unix"
)

// hostFacts is what plans depend on. Golden tests fill it by hand, so plans need no host.
type hostFacts struct {
	uid, gid   uint32
	mapsAny    bool                 // may map any id: CAP_SETUID, CAP_SETGID and the right to write another's uid_map
	mounts     bool                 // CAP_SYS_ADMIN in the initial mount namespace's owner: may idmap and clone trees of the host
	makesNodes bool                 // CAP_MKNOD, which counts in the initial user namespace alone
	netAhead   bool                 // network namespaces can be made before the sandbox they are for
	idRange    bool                 // the ids from 2^30 on exist in our user namespace
	ownRange   namespace.IDMap      // where they do not: ids of ours that are not our root
	subUIDs    namespace.SubIDRange // what /etc/subuid and newuidmap allow an ordinary user; Count 0: nothing
	subGIDs    namespace.SubIDRange
	mapLower   bool // overlayfs takes idmapped layers (Linux 5.19)
	tmpfsIDs   bool // tmpfs can map ids (Linux 6.3)
	tmpfsAttrs bool // tmpfs keeps user.* attributes (Linux 6.6)
	lastCap    int
	landlock   int // version of Landlock's interface
	// landlockErr is why there is no Landlock.
	landlockErr error
	root        rootfs.Facts
	proc        map[string]procEntry // what is at paths below /proc that plans mask
	kinds       map[string]bool      // by source of the default root: is it a directory
}

// procEntry is the kind of a path below /proc.
type procEntry uint8

const (
	procMissing procEntry = iota
	procFile
	procDir
)

// gatherFacts looks at the host; it changes nothing. It is done when the zygote starts, whose privileges are those that count: the host program may give up
// its own later.
func gatherFacts() *hostFacts {
	f := &hostFacts{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()), proc: map[string]procEntry{}}
	caps := effectiveCaps()
	has := func(c int) bool { return caps&(1<<c) != 0 }
	f.mapsAny = f.uid == 0 && has(unix.CAP_SETUID) && has(unix.CAP_SETGID)
	f.mounts = f.uid == 0 && has(unix.CAP_SYS_ADMIN)
	f.makesNodes = f.mounts && has(unix.CAP_MKNOD) && mapped(0, 1<<32-1)
	f.netAhead = f.mounts && has(unix.CAP_NET_ADMIN)
	f.idRange = mapped(1<<30, 1<<30)
	if f.mapsAny && !f.idRange {
		f.ownRange = largestOwnRange()
	}
	if !f.mapsAny {
		f.subUIDs = subordinate("/etc/subuid", "newuidmap", f.uid)
		f.subGIDs = subordinate("/etc/subgid", "newgidmap", f.uid)
	}
	f.lastCap, f.mapLower = lastCap(), kernelAtLeast(5, 19)
	f.landlock, f.landlockErr = landlockABI()
	f.tmpfsAttrs, f.tmpfsIDs = tmpfsKeepsAttrs(), kernelAtLeast(6, 3)
	for _, op := range rootfs.ProcOps() {
		f.proc[op.Path()] = lookProc(op.Path())
	}
	for _, path := range rootfs.Substitutes() {
		if rootfs.Within(path, "/proc") {
			f.proc[path] = lookProc(path)
		}
	}
	f.lookAtRoot()
	return f
}

// lookAtRoot finds out what of the host the default root consists of.
func (f *hostFacts) lookAtRoot() {
	f.root, f.kinds = rootfs.HostFacts(), map[string]bool{}
	for _, op := range rootfs.Default(f.root, rootfs.Etc{}) {
		if b, ok := op.(rootfs.Bind); ok {
			if info, err := os.Stat(b.Source); err == nil {
				f.kinds[b.Source] = info.IsDir()
			}
		}
	}
}

func lookProc(path string) procEntry {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return procMissing
	case info.IsDir():
		return procDir
	}
	return procFile
}

func effectiveCaps() uint64 {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return 0
	}
	return uint64(data[0].Effective) | uint64(data[1].Effective)<<32
}

func lastCap() int {
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	n := unix.CAP_LAST_CAP
	if err == nil {
		_, _ = fmt.Sscan(string(b), &n)
	}
	return n
}

// ownMaps reads the extents of our own user namespace's uid map (user_namespaces(7)).
func ownMaps() []namespace.IDMap {
	file, err := os.Open("/proc/self/uid_map")
	if err != nil {
		return nil
	}
	defer file.Close()
	var list []namespace.IDMap
	for s := bufio.NewScanner(file); s.Scan(); {
		var m namespace.IDMap
		if _, err := fmt.Sscan(s.Text(), &m.Inside, &m.Outside, &m.Count); err == nil {
			list = append(list, m)
		}
	}
	return list
}

func mapped(first, count uint64) bool {
	for _, m := range ownMaps() {
		if uint64(m.Inside) <= first && first+count <= uint64(m.Inside)+uint64(m.Count) {
			return true
		}
	}
	return false
}

// largestOwnRange is the part of our own ids that a sandbox gets where no range can be kept for it: all but our root.
func largestOwnRange() namespace.IDMap {
	var best namespace.IDMap
	for _, m := range ownMaps() {
		if m.Inside == 0 {
			m.Inside, m.Count = 1, m.Count-1
		}
		if m.Count > best.Count {
			best = m
		}
	}
	return namespace.IDMap{Inside: 0, Outside: best.Inside, Count: min(best.Count, 1<<16)}
}

// subordinate returns the largest range of ids that file grants to us, if the helper that may map them is installed.
func subordinate(file, helper string, uid uint32) namespace.SubIDRange {
	if !installed(helper) {
		return namespace.SubIDRange{}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return namespace.SubIDRange{}
	}
	name := ""
	if u, err := user.LookupId(strconv.Itoa(int(uid))); err == nil {
		name = u.Username
	}
	ids, _ := namespace.ParseSubIDs(string(text)) // other people's lines may be wrong
	best, _ := ids.Lookup(name, uid).Largest()
	return best
}

func installed(helper string) bool {
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"} {
		if _, err := os.Stat(filepath.Join(dir, helper)); err == nil {
			return true
		}
	}
	return false
}

// tmpfsKeepsAttrs tries: a memfd is a file of a tmpfs.
func tmpfsKeepsAttrs() bool {
	fd, err := unix.MemfdCreate("belljar-probe", unix.MFD_CLOEXEC)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Fsetxattr(fd, "user.belljar", []byte("1"), 0) == nil
}
