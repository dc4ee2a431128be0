package cgroup

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Reader reads the accounts of a group which another process manages. It
// needs no privileges: the files are open to everybody where the directories
// above are. It is safe for concurrent use.
type Reader struct {
	mu     sync.RWMutex
	closed bool
	ps     places
}

// Describe says where the group is.
func (m *Manager) Describe() Description { return Description{Dirs: m.dirs} }

// Describe says where the group is.
func (l *Leaf) Describe() Description {
	var d Description
	for i := range l.ps {
		d.Dirs = append(d.Dirs, l.ps[i].Dir)
	}
	return d
}

// Open attaches to a group for reading. The group must exist; when it is
// removed later, reads fail with ENODEV or ENOENT.
func Open(d Description) (*Reader, error) {
	r := &Reader{}
	for _, dir := range d.Dirs {
		fd, err := openDirAt(unix.AT_FDCWD, dir.Path)
		if err != nil {
			_ = r.Close()
			return nil, &Error{Op: "open", Path: dir.Path, Err: err}
		}
		r.ps = append(r.ps, place{Dir: dir, fd: fd})
	}
	return r, nil
}

func (r *Reader) lock() error {
	r.mu.RLock()
	if r.closed {
		r.mu.RUnlock()
		return ErrClosed
	}
	return nil
}

// Stats is what the kernel counts in the group itself. What Manager and Leaf
// add to it, throttling and refused forks because of the sandbox's limits in
// a leaf and on v1 the OOM kills of leaves in a sandbox, only they can know.
func (r *Reader) Stats() (Stats, error) {
	var s Stats
	if err := r.lock(); err != nil {
		return s, err
	}
	defer r.mu.RUnlock()
	if err := r.ps.totals(&s); err != nil {
		return s, err
	}
	return s, r.ps.current(&s)
}

// Procs is as for Manager.
func (r *Reader) Procs() ([]int, error) {
	if err := r.lock(); err != nil {
		return nil, err
	}
	defer r.mu.RUnlock()
	return r.ps.procs()
}

// Populated is as for Manager.
func (r *Reader) Populated() (bool, error) {
	if err := r.lock(); err != nil {
		return false, err
	}
	defer r.mu.RUnlock()
	return r.ps.populated()
}

// Frozen is as for Manager. It is false for a leaf on v1, where only
// sandboxes have a freezer.
func (r *Reader) Frozen() (bool, error) {
	if err := r.lock(); err != nil {
		return false, err
	}
	defer r.mu.RUnlock()
	return r.ps.frozen()
}

// Close gives the descriptors back. The group is not touched.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	for _, p := range r.ps {
		unix.Close(p.fd)
	}
	return nil
}
