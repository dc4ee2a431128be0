//go:build linux

package zygote

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/mounts"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// templates are roots that sandboxes can be begun from, each in a mount namespace of its own in which nothing runs.
type templates struct {
	mu     sync.Mutex
	byID   map[uint64]*template
	mounts mounts.Watch // of the host's
	home   int          // the mount namespace of this process, and its root; 0: not open yet
	root   int
	idle   *time.Timer
}

type template struct {
	ns      int // the mount namespace
	sources []found
	used    time.Time
}

// found is what was at a path of the host.
type found struct {
	path     string
	dev, ino uint64
}

const (
	// maxTemplates bounds how many there are, grounds included.
	maxTemplates = 16
	// templatesIdle is how long one is kept that nobody uses.
	templatesIdle = 30 * time.Second
)

var errNoTemplate = errors.New("there is no such template, or the host has changed since it was made")

// makeTemplate walks a plan to its end and keeps the mount namespace that it was walked in.
func (z *zygote) makeTemplate(m *wire.Message) (err error) {
	var req wire.TemplateRequest
	if err := m.Decode(&req); err != nil {
		return err
	}
	p, err := plan.Decode(m.Raw)
	if err != nil {
		return err
	}
	z.templates.watchMounts()
	t := &template{ns: -1, used: time.Now()}
	for _, path := range req.Sources {
		f, err := lookAt(path)
		if err != nil {
			return &stageError{"template", "stat", path, err}
		}
		t.sources = append(t.sources, f)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return &stageError{"template", "pipe2", "", err}
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	handle := &launch.Handle{}
	defer z.launching(handle)()
	proc, err := launch.Launch(&launch.Request{
		Plan: p, Files: []int{z.image, pipe[0]}, Mode: launch.Mode(req.Launch.Mode), Flags: req.Launch.Flags, Cgroup: -1,
		Until: deadline(req.Launch.Timeout), Keep: plan.None, Handle: handle,
		Started: func(int, int, func(plan.Reg, int)) error { return nil }, // it waits to be told to go on
	})
	if err != nil {
		return launchError("template", err)
	}
	awaitProgram(proc.PID)
	t.ns, err = unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", proc.PID), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	_ = unix.PidfdSendSignal(proc.PIDFD, unix.SIGKILL, nil, 0)
	var ws unix.WaitStatus
	_, _ = launch.Wait(proc.PID, &ws, 0, nil)
	_ = unix.Close(proc.PIDFD)
	if err != nil {
		return &stageError{"template", "open", "mount namespace", err}
	}
	z.templates.add(req.Template, t)
	return nil
}

func lookAt(path string) (found, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	return found{path, st.Dev, st.Ino}, err
}

// like tells whether what the template has of the host is what is there now.
func (t *template) like() bool {
	for _, f := range t.sources {
		if now, err := lookAt(f.path); err != nil || now != f {
			return false
		}
	}
	return true
}

func (ts *templates) add(id uint64, t *template) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.byID == nil {
		ts.byID = map[uint64]*template{}
	}
	for len(ts.byID) >= maxTemplates {
		var oldest uint64
		for i, o := range ts.byID {
			if oldest == 0 || o.used.Before(ts.byID[oldest].used) {
				oldest = i
			}
		}
		ts.drop(oldest)
	}
	ts.byID[id] = t
	if ts.idle == nil {
		ts.idle = time.AfterFunc(templatesIdle, ts.rest)
	}
}

// drop lets a template go. The caller holds the lock.
func (ts *templates) drop(id uint64) {
	t := ts.byID[id]
	delete(ts.byID, id)
	_ = unix.Close(t.ns)
}

// rest lets those go that nobody has used for a while.
func (ts *templates) rest() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for id, t := range ts.byID {
		if time.Since(t.used) >= templatesIdle {
			ts.drop(id)
		}
	}
	if len(ts.byID) == 0 {
		ts.idle = nil
		return
	}
	ts.idle.Reset(templatesIdle / 2)
}

// watchMounts begins to look for changes of the host's mounts, or takes note of those up to now.
func (ts *templates) watchMounts() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.mounts.Begin() != nil {
		return // without it no template is ever good
	}
	ts.dropOld()
}

// dropOld lets all templates go if something has been mounted or unmounted on the host: it may be below what they have bound. The caller holds the lock.
func (ts *templates) dropOld() {
	if changed, err := ts.mounts.Changed(); err == nil && !changed {
		return
	}
	for id := range ts.byID {
		ts.drop(id)
	}
}

// enter says where a process starts, or a thread goes, that is to be in a template's mount namespace. The caller owns the namespace's descriptor.
func (ts *templates) enter(id uint64) (*launch.Mounts, error) {
	ns, err := ts.open(id)
	if err != nil {
		return nil, err
	}
	home, err := ts.homeNS()
	if err == nil {
		err = ts.openRoot()
	}
	if err != nil {
		_ = unix.Close(ns)
		return nil, &stageError{"template", "open", "mount namespace", err}
	}
	return &launch.Mounts{NS: ns, Home: home, Root: ts.root}, nil
}

// homeNS returns the mount namespace of this process, which stays open.
func (ts *templates) homeNS() (home int, err error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.home == 0 {
		if home, err = launch.Home("mnt"); err != nil {
			return -1, err
		}
		ts.home = home
	}
	return ts.home, nil
}

// openRoot opens the root of this process, if it can be returned to.
func (ts *templates) openRoot() error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.root != 0 {
		return nil
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err = launch.CanReturn(root); err != nil {
		_ = unix.Close(root)
		return err
	}
	ts.root = root
	return nil
}

// open returns a descriptor of a template's mount namespace, which the caller owns.
func (ts *templates) open(id uint64) (int, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.dropOld()
	t := ts.byID[id]
	if t != nil && !t.like() {
		ts.drop(id)
		t = nil
	}
	if t == nil {
		return -1, errNoTemplate
	}
	t.used = time.Now()
	ns, err := unix.FcntlInt(uintptr(t.ns), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, &stageError{"template", "fcntl", "", err}
	}
	return ns, nil
}

// clone returns a copy of a template's tree, attached nowhere, which only a thread in its mount namespace can make. The caller owns the descriptor.
func (ts *templates) clone(id uint64) (tree int, err error) {
	m, err := ts.enter(id)
	if err != nil {
		return -1, err
	}
	defer unix.Close(m.NS)
	err = m.Visit(func() (err error) {
		tree, err = unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		return err
	})
	if err != nil {
		return -1, &stageError{"template", "open_tree", "/", err}
	}
	return tree, nil
}
