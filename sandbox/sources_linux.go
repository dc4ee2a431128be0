package sandbox

import (
	"fmt"
	"strings"

	"github.com/belljar-go/belljar/rootfs"
	"golang.org/x/sys/unix"
)

// source is a file or directory of the host that a root needs.
type source struct {
	fd     int  // O_PATH
	dir    bool // it is a directory
	node   node // the device that it is
	handle bool // the zygote clones what the descriptor stands for, instead of what the path leads to later
}

// sources is what a root takes from the host, opened.
type sources struct {
	at      map[string]source // by path on the host
	layered bool              // the root lacks something that has to be made in it
	skipped []string          // optional binds whose source does not exist
	upper   upperLayer
	shown   string // a hierarchy of cgroups that commands are to see; "": none
}

func (s *sources) close() {
	for _, src := range s.at {
		if src.fd >= 0 {
			_ = unix.Close(src.fd)
		}
	}
}

// handles returns the descriptors of these paths, in their order. They stay s's.
func (s *sources) handles(paths []string) []int {
	fds := make([]int, len(paths))
	for i, p := range paths {
		fds[i] = s.at[p].fd
	}
	return fds
}

// openSources opens what the root takes from the host, with the caller's rights. A missing source that is optional is left out of ops. The
// result must be closed, also after an error.
func openSources(s *spec, f *hostFacts, ops *[]rootfs.Op) (*sources, error) {
	mine := map[string]bool{}
	for _, op := range s.ops {
		if b, ok := op.(rootfs.Bind); ok {
			mine[b.Source] = true
		}
	}
	found := &sources{at: map[string]source{}}
	var kept []rootfs.Op
	for _, op := range *ops {
		switch o := op.(type) {
		case rootfs.Bind:
			if dir, ok := f.kinds[o.Source]; ok && !mine[o.Source] {
				found.at[o.Source] = source{fd: -1, dir: dir}
				break
			}
			err := found.open(o.Source, f.mounts && mine[o.Source])
			if err == unix.ENOENT && o.Flags&rootfs.BindOptional != 0 {
				if mine[o.Source] {
					found.skipped = append(found.skipped, o.Source)
				}
				continue
			}
			if err != nil {
				return found, &Error{Stage: "root", Op: "WithBind", Path: o.Source, Err: err}
			}
		case rootfs.Device:
			skip, err := found.openDevice(o, f)
			if err != nil {
				return found, &Error{Stage: "root", Op: "WithDevice", Path: o.Source, Err: err}
			}
			if skip {
				continue
			}
		case rootfs.Substitute:
			if o.Source == "" {
				break
			}
			if err := found.open(o.Source, f.mounts); err != nil {
				return found, &Error{Stage: "root", Op: "WithProc", Path: o.Source, Err: err}
			}
		case rootfs.Base:
			if err := found.openDir(o.Dir, f.mounts); err != nil {
				return found, &Error{Stage: "root", Op: s.rootOption(), Path: o.Dir, Err: err}
			}
		case rootfs.Layer:
			if err := found.openDir(o.Dir, f.mounts); err != nil {
				return found, &Error{Stage: "root", Op: s.rootOption(), Path: o.Dir, Err: err}
			}
		}
		kept = append(kept, op)
	}
	*ops = kept
	if err := found.checkPoints(kept); err != nil {
		return found, err
	}
	found.layered = s.writable() || found.incomplete(kept)
	return found, nil
}

// inBind returns the bind in which a path is, and is not the bind itself; nil if it is in something else.
func inBind(ops []rootfs.Op, target string) *rootfs.Bind {
	var holder rootfs.Op
	for _, op := range ops {
		switch op.(type) {
		case rootfs.Bind, rootfs.Tmpfs, rootfs.Dev, rootfs.Proc:
			if p := op.Path(); p != target && rootfs.Within(target, p) && (holder == nil || rootfs.Within(p, holder.Path())) {
				holder = op
			}
		}
	}
	if b, ok := holder.(rootfs.Bind); ok {
		return &b
	}
	return nil
}

// checkPoints refuses a mount point that would have to be made in what a bind shows, which is the host's. It is a guess like that of incomplete.
func (s *sources) checkPoints(ops []rootfs.Op) error {
	for _, op := range ops {
		dir := true
		switch o := op.(type) {
		case rootfs.Bind:
			dir = s.at[o.Source].dir
		case rootfs.Tmpfs:
		default:
			continue
		}
		in := inBind(ops, op.Path())
		if in == nil || s.at[in.Source].fd < 0 || has(s.at[in.Source].fd, strings.TrimPrefix(op.Path(), in.Target), dir) {
			continue
		}
		label := "WithBind"
		if _, ok := op.(rootfs.Tmpfs); ok {
			label = "WithTmpfs"
		}
		return &Error{Stage: "root", Op: label, Path: op.Path(), Err: fmt.Errorf("is not there in what bind %s shows, and nothing is made on the host: %w", quotePath(in.Target), unix.ENOENT)}
	}
	return nil
}

// open opens a path of the host, which must be readable, and a directory searchable.
func (s *sources) open(path string, handle bool) error {
	if _, ok := s.at[path]; ok {
		return nil
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	dir, err := inspect(fd)
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	s.at[path] = source{fd: fd, dir: dir, handle: handle}
	return nil
}

func (s *sources) openDir(path string, handle bool) error {
	err := s.open(path, handle)
	if err == nil && !s.at[path].dir {
		return unix.ENOTDIR
	}
	return err
}

// openDevice opens a device that the caller may open as it is going to be, since who has left privileges to the zygote is not to get more by it. skip says
// that there is none and there need not be.
func (s *sources) openDevice(d rootfs.Device, f *hostFacts) (skip bool, err error) {
	fd, err := unix.Open(d.Source, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT && d.Flags&rootfs.BindOptional != 0 {
		s.skipped = append(s.skipped, d.Source)
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, err
	}
	kind := st.Mode & unix.S_IFMT
	if kind != unix.S_IFCHR && kind != unix.S_IFBLK {
		return false, errNoDevice
	}
	mode := uint32(unix.R_OK)
	if d.Flags&rootfs.BindReadOnly == 0 {
		mode |= unix.W_OK
	} else if !f.makesNodes {
		return false, errWholeDevice
	}
	if err := mayAccess(fd, mode); err != nil {
		return false, err
	}
	if _, ok := s.at[d.Source]; !ok {
		s.at[d.Source] = source{fd: -1, node: node{kind, st.Rdev}}
	}
	return false, nil
}

var (
	errNoDevice    = fmt.Errorf("is no device: %w", ErrInvalid)
	errWholeDevice = fmt.Errorf("only the host's root can make a node that is less than the device: leave ReadOnly out, or narrow the host's own: %w", ErrUnsupported)
)

func inspect(fd int) (dir bool, err error) {
	dir, err = isDir(fd)
	if err != nil {
		return false, err
	}
	mode := uint32(unix.R_OK)
	if dir {
		mode |= unix.X_OK
	}
	return dir, mayAccess(fd, mode)
}

// mayAccess is access(2) by the effective ids for what an O_PATH descriptor stands for: faccessat2(2) knows that since Linux 5.8, and where a filter does not let it pass the long way does.
func mayAccess(fd int, mode uint32) error {
	err := unix.Faccessat2(fd, "", mode, unix.AT_EACCESS|unix.AT_EMPTY_PATH)
	if err == unix.ENOSYS || err == unix.EPERM {
		err = unix.Faccessat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), mode, unix.AT_EACCESS)
	}
	return err
}

func isDir(fd int) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st.Mode&unix.S_IFMT == unix.S_IFDIR, err
}

// incomplete tells whether a root of the caller's, which is never written to, lacks a mount point, or is to have files of its own. What is
// looked up here is only a guess: if the root changes meanwhile, the plan's own steps fail.
func (s *sources) incomplete(ops []rootfs.Op) bool {
	if len(ops) == 0 {
		return false
	}
	base, ok := ops[0].(rootfs.Base)
	if !ok {
		return false
	}
	if len(ops) > 1 {
		if _, stacked := ops[1].(rootfs.Layer); stacked {
			return true // what is in it takes overlayfs to see
		}
	}
	root := s.at[base.Dir].fd
	var covered []string
	for _, op := range ops[1:] {
		target := op.Path()
		if within(target, covered) {
			continue
		}
		switch o := op.(type) {
		case rootfs.File, rootfs.Symlink, rootfs.Dir:
			return true
		case rootfs.Mask, rootfs.ReadOnly, rootfs.Substitute:
			continue
		case rootfs.Bind:
			if !has(root, target, s.at[o.Source].dir) {
				return true
			}
		default:
			if !has(root, target, true) {
				return true
			}
		}
		covered = append(covered, target)
	}
	return false
}

func within(target string, dirs []string) bool {
	for _, d := range dirs {
		if rootfs.Within(target, d) {
			return true
		}
	}
	return false
}

// has tells whether root has a directory, or something else, at a path.
func has(root int, path string, dir bool) bool {
	fd, err := unix.Openat2(root, strings.TrimPrefix(path, "/"), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	d, err := isDir(fd)
	return err == nil && d == dir
}
