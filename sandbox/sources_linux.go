package sandbox

import (
	"fmt"

	"github.com/belljar-go/belljar/rootfs"
	"golang.org/x/sys/unix"
)

// source is a file or directory of the host that a root needs.
type source struct {
	fd     int  // O_PATH
	dir    bool // it is a directory
	handle bool // the zygote clones what the descriptor stands for, instead of what the path leads to later
}

type sources map[string]source

func (s sources) close() {
	for _, src := range s {
		_ = unix.Close(src.fd)
	}
}

// handles returns the descriptors of these paths, in their order. They stay s's.
func (s sources) handles(paths []string) []int {
	fds := make([]int, len(paths))
	for i, p := range paths {
		fds[i] = s[p].fd
	}
	return fds
}

// openSources opens what the root takes from the host, with the caller's rights. A missing source that is optional is left out of ops. The
// result must be closed, also after an error.
func openSources(s *spec, f *hostFacts, ops *[]rootfs.Op) (sources, error) {
	mine := map[string]bool{}
	for _, op := range s.ops {
		if b, ok := op.(rootfs.Bind); ok {
			mine[b.Source] = true
		}
	}
	found := sources{}
	var kept []rootfs.Op
	for _, op := range *ops {
		switch o := op.(type) {
		case rootfs.Bind:
			optional, err := o.Flags&rootfs.BindOptional != 0, found.open(o.Source, f.mounts && mine[o.Source])
			if optional && err == unix.ENOENT {
				continue
			}
			if err != nil {
				return found, &Error{Stage: "root", Op: "WithBind", Path: o.Source, Err: err}
			}
		case rootfs.Base:
			err := found.open(o.Dir, f.mounts)
			if err == nil && !found[o.Dir].dir {
				err = unix.ENOTDIR
			}
			if err != nil {
				return found, &Error{Stage: "root", Op: "WithRootfs", Path: o.Dir, Err: err}
			}
		}
		kept = append(kept, op)
	}
	*ops = kept
	return found, nil
}

// open opens a path of the host, which must be readable, and a directory searchable.
func (s sources) open(path string, handle bool) error {
	if _, ok := s[path]; ok {
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
	s[path] = source{fd: fd, dir: dir, handle: handle}
	return nil
}

func inspect(fd int) (dir bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, err
	}
	dir = st.Mode&unix.S_IFMT == unix.S_IFDIR
	mode := uint32(unix.R_OK)
	if dir {
		mode |= unix.X_OK
	}
	return dir, unix.Faccessat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), mode, unix.AT_EACCESS)
}
