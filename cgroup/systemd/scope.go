package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/godbus/dbus/v5"
)

// Scope is a transient scope unit, made by New and ended by Close. Its processes are in
// a group at its bottom, so that groups with controllers can be made beside that.
type Scope struct {
	mu      sync.Mutex
	unit    string
	group   string // from the top of the hierarchy
	dir     string // in the file system
	manager Manager
	aside   *cgroup.Aside
	homes   map[int]string // the directories of the groups that processes came from
	home    string         // of those that have been forked since
	closed  bool
}

// patience is how long Close waits for systemd, and New for its own undoing: about as long as systemd's own clients do.
const patience = 30 * time.Second

// made numbers the scopes of this process.
var made atomic.Uint64

// New makes a scope and moves the calling process into it, all of its threads, or the
// processes that Options names. It returns when systemd has done so and every
// controller of Options.Need can be used below the scope.
//
// It blocks until ctx is done at most; the time of a healthy system is some
// milliseconds. The error is a *cgroup.InvalidError for options that no machine could
// serve, an *Error for what systemd or the bus did not do, and a *cgroup.ParentError
// or *cgroup.UnsupportedError for what the group cannot do, with the remedy for each.
// After an error the processes are where they were, as far as Close could bring
// them back.
func New(ctx context.Context, o Options) (_ *Scope, err error) {
	program := os.Getpid()
	self, err := cgroup.OwnerName(program)
	if errors.Is(err, cgroup.ErrUnsupported) { // no Linux
		return nil, &Error{Op: "look for", Kind: ErrNoSystemd, Err: err}
	}
	if err != nil {
		return nil, err
	}
	if err := o.check(self + "-" + strconv.FormatUint(made.Add(1), 10)); err != nil {
		return nil, err
	}
	mount, err := unified(o.Need)
	if err != nil {
		return nil, err
	}
	s := &Scope{unit: o.Name, manager: o.Manager, homes: map[int]string{}}
	if s.manager == Auto {
		s.manager = User
		if os.Geteuid() == 0 {
			s.manager = System
		}
	}
	pids := o.PIDs
	if len(pids) == 0 {
		pids = []int{program}
	}
	for _, pid := range pids {
		group, err := groupOf(pid)
		if err != nil {
			return nil, &Error{Op: "look for the group of process " + strconv.Itoa(pid), Err: err}
		}
		s.homes[pid] = mount + group
	}
	s.home = s.homes[pids[0]]
	if err := ctx.Err(); err != nil {
		return nil, &Error{Op: "StartTransientUnit", Unit: s.unit, Err: err}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	b, err := connect(ctx, s.manager)
	if err != nil {
		return nil, err
	}
	defer b.close()
	defer func() {
		if err != nil {
			_ = s.release()
		}
	}()
	if err := b.start(ctx, s.unit, o.properties(pids)); err != nil {
		if !errors.Is(err, ErrExists) { // then it would be somebody else's
			s.dir = s.found(pids[0], mount)
		}
		return nil, err
	}
	if err := s.settle(ctx, b, mount, pids, &o); err != nil {
		return nil, err
	}
	return s, nil
}

// unified returns where v2 is mounted, if it has the controllers.
func unified(need cgroup.Controllers) (string, error) {
	h, err := cgroup.Detect()
	if err != nil {
		return "", err
	}
	for i := range h.Hierarchies {
		y := &h.Hierarchies[i]
		if y.Version != 2 || y.Unusable != "" || y.Root != "/" {
			continue
		}
		if (y.Controllers | cgroup.CPUAcctController | cgroup.FreezerController).Has(need) {
			return y.Mount, nil
		}
	}
	return "", &cgroup.UnsupportedError{
		Feature: "delegation by systemd", Reason: "no hierarchy of version 2 has " + need.String(),
		Remedy: "boot with systemd.unified_cgroup_hierarchy=1; root needs no delegation in hierarchies of version 1",
	}
}

func (o *Options) properties(pids []int) []property {
	ids := make([]uint32, len(pids))
	for i, pid := range pids {
		ids[i] = uint32(pid)
	}
	if o.Description == "" {
		o.Description = "Delegated to process " + strconv.Itoa(pids[0])
	}
	props := []property{
		{"Description", dbus.MakeVariant(o.Description)},
		{"PIDs", dbus.MakeVariant(ids)},
		{"Delegate", dbus.MakeVariant(true)},
		// Else a scope one of whose processes ran out of memory stays listed as failed.
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
	}
	if o.Slice != "" {
		props = append(props, property{"Slice", dbus.MakeVariant(o.Slice)})
	}
	for name, value := range o.Properties {
		props = append(props, property{name, dbus.MakeVariant(value)})
	}
	return props
}

// settle makes the scope's group one that hands controllers down.
func (s *Scope) settle(ctx context.Context, b *bus, mount string, pids []int, o *Options) (err error) {
	s.dir = s.found(pids[0], mount)
	if s.group, err = b.group(ctx, s.unit); err != nil {
		return err
	}
	// The kernel is believed, not the bus: what is undone or made in a group is done in this one.
	for _, pid := range pids {
		if in, err := groupOf(pid); err != nil || in != s.group || path.Base(in) != s.unit {
			return &Error{Op: "move process " + strconv.Itoa(pid) + " into", Unit: s.unit, Err: fmt.Errorf("it is in %q, the unit's group is %q: %w", in, s.group, errors.Join(errNotThere, err))}
		}
	}
	s.dir = mount + s.group
	if len(o.PIDs) == 0 {
		s.follow(ctx, b, s.home[len(mount):])
	}
	h, err := cgroup.Detect()
	if err != nil {
		return err
	}
	if s.aside, err = h.MoveAside(s.group, pids[0], o.Need, pids...); err != nil {
		return err
	}
	// That the controllers can be had is known by now; that this process may move others
	// into groups there is not.
	if !slices.Contains(pids, os.Getpid()) {
		return nil
	}
	if h, err = cgroup.Detect(); err != nil {
		return err
	}
	_, err = h.ParentAt(s.group, o.Need)
	return err
}

var errNotThere = errors.New("not moved")

// follow brings what the program has started. Whoever ends meanwhile, or may not be
// moved, stays behind.
func (s *Scope) follow(ctx context.Context, b *bus, group string) {
	for _, pid := range companions(group) {
		if b.call(ctx, s.unit, "AttachProcessesToUnit", nil, s.unit, "", []uint32{uint32(pid)}) == nil {
			s.homes[pid] = s.home
		}
	}
}

// found is the directory of the scope's group, if the process is in it by now although
// systemd has not said so.
func (s *Scope) found(pid int, mount string) string {
	group, err := groupOf(pid)
	if err != nil || path.Base(group) != s.unit || mount+group == s.homes[pid] {
		return ""
	}
	return mount + group
}

// Unit is the name of the unit.
func (s *Scope) Unit() string { return s.unit }

// Parent is the scope's group, for sandbox.WithCgroupParent and
// cgroup.Host.ParentAt, as /proc/self/cgroup shows paths.
func (s *Scope) Parent() string { return s.group }

// Close brings the processes back to where they came from, with what they have started
// since, and waits until systemd has forgotten the scope, for half a minute at most.
// Sandboxes below must have been closed: otherwise the error says so, nothing is
// changed, and Close may be called again.
//
// Where they may not go back, the processes stay in the scope, and it ends with the
// last of them: that is so for an ordinary user who came from a login session, whose
// group is root's. It is no error. Nothing is ever killed. Closing twice is no error.
func (s *Scope) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if err := s.release(); err != nil {
		return err
	}
	s.closed = true
	return nil
}

func (s *Scope) release() error {
	if s.aside != nil {
		if err := s.aside.Return(); err != nil {
			return fmt.Errorf("systemd: give back %s: %w (close the sandboxes in it first)", s.unit, err)
		}
	}
	if s.dir == "" || !s.empty() {
		return nil
	}
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	b, err := connect(ctx, s.manager)
	if err != nil {
		return err
	}
	defer b.close()
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		there, err := b.loaded(ctx, s.unit)
		if err != nil || !there {
			return err
		}
		select {
		case <-ctx.Done():
			return &Error{Op: "forget", Unit: s.unit, Err: ctx.Err(), remedy: "systemctl stop " + s.unit}
		case <-time.After(wait):
		}
	}
}

// empty moves everybody out and says whether that was possible.
func (s *Scope) empty() bool {
	const rounds = 100 // against processes that fork
	for range rounds {
		pids, err := members(s.dir)
		if err != nil {
			return errors.Is(err, os.ErrNotExist)
		}
		if len(pids) == 0 {
			return true
		}
		for _, pid := range pids {
			home, ok := s.homes[pid]
			if !ok {
				home = s.home
			}
			if move(home, pid) != nil {
				return false
			}
		}
	}
	return false
}
