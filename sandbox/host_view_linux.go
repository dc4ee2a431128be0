package sandbox

import (
	"maps"
	"sync"

	"github.com/belljar-go/belljar/sandbox/internal/mounts"
	"golang.org/x/sys/unix"
)

// hostView is what a sandbox has of the host: whoever finds it the same would make the same sandbox.
type hostView struct {
	shape  *shape
	mounts uint64 // as of which change of what is mounted
	at     map[string]inode
}

type inode struct{ dev, ino uint64 }

// viewFor looks at what a sandbox that is asked for like this would have of the host now. It is false where that cannot be told, or is more than can be compared.
func viewFor(s *spec) (v hostView, ok bool) {
	z := livingZygote()
	if z == nil || s.parent != "" {
		return v, false
	}
	sh := z.shapes.find(s, z.hostFacts())
	if sh == nil {
		return v, false
	}
	return z.view(sh)
}

// view looks at what a sandbox of the shape would have of the host now.
func (c *zygoteClient) view(sh *shape) (v hostView, ok bool) {
	v = hostView{shape: sh, at: map[string]inode{}}
	if v.mounts, ok = c.mounts.count(); !ok || c.isDead() || c.hostFacts() != sh.facts || tamper.Load() != nil {
		return v, false
	}
	src := &sources{at: maps.Clone(sh.known)}
	defer src.close()
	if !sh.finds(src) {
		return v, false
	}
	for path, has := range src.at {
		var st unix.Stat_t
		var err error
		if has.fd >= 0 {
			err = unix.Fstat(has.fd, &st)
		} else {
			err = unix.Stat(path, &st)
		}
		if err != nil {
			return v, false
		}
		v.at[path] = inode{st.Dev, st.Ino}
	}
	return v, true
}

// sees tells whether the engine has what was in view before, and everything is as it was.
func (e *engine) sees(before hostView) bool {
	if e.shape != before.shape || len(e.report.GivenUp) > 0 { // what was given up might be had another time
		return false
	}
	now, ok := e.z.view(e.shape)
	return ok && now.mounts == before.mounts && maps.Equal(now.at, before.at)
}

// mountCounter counts changes of what is mounted in this process's mount namespace.
type mountCounter struct {
	mu     sync.Mutex
	watch  mounts.Watch
	closed bool // nothing can be told any more
	n      uint64
}

// count is the same as long as nothing has changed; false if that cannot be told.
func (c *mountCounter) count() (uint64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.watch.Begin() != nil {
		return 0, false
	}
	changed, err := c.watch.Changed()
	if err != nil {
		return 0, false
	}
	if changed {
		c.n++
	}
	return c.n, true
}

func (c *mountCounter) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.watch.Close()
}
