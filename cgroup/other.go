//go:build !linux

package cgroup

import (
	"context"
	"time"
)

// Control groups are Linux's. Elsewhere everything answers ErrUnsupported.

func notHere(feature string) error {
	return &UnsupportedError{Feature: feature, Reason: "control groups exist on Linux only"}
}

// Manager is the group of one sandbox.
type Manager struct{}

// Leaf is the group of one command.
type Leaf struct{}

// Aside is a group to which a program has stepped aside.
type Aside struct{}

// Owner is the group of one program.
type Owner struct{}

// Reader reads the accounts of a group.
type Reader struct{}

// Events is a subscription to what happens to a group.
type Events struct{}

// Detect reads which hierarchies this process sees.
func Detect() (*Host, error) { return nil, notHere("Detect") }

// Base returns the groups below which this process may make others.
func (h *Host) Unified() (Parent, bool)          { return Parent{}, false }
func (h *Host) Base(Controllers) (Parent, error) { return Parent{}, notHere("Base") }

// ParentAt is Base with an explicit group.
func (h *Host) ParentAt(string, Controllers) (Parent, error) { return Parent{}, notHere("ParentAt") }

// Ceiling is what the groups above allow.
func (p Parent) Ceiling() Limits { return Limits{} }

// New makes the group of one sandbox.
func New(Parent, string, Limits) (*Manager, error) { return nil, notHere("New") }

// NewWith is New with options.
func NewWith(Parent, string, Limits, Options) (*Manager, error) { return nil, notHere("New") }

// NewOwner makes the group of one program.
func NewOwner(Parent, int, Options) (*Owner, error) { return nil, notHere("NewOwner") }

// OwnerName is the name of the group of a program.
func OwnerName(int) (string, error) { return "", notHere("OwnerName") }

// Open attaches to a group for reading.
func Open(Description) (*Reader, error) { return nil, notHere("Open") }

// Sweep removes what programs that have died left.
func Sweep() ([]string, error) { return nil, notHere("Sweep") }

// SweepAt is Sweep below a named group.
func SweepAt(string) ([]string, error) { return nil, notHere("Sweep") }

// SweepBase is Sweep below a given base.
func SweepBase(Parent) ([]string, error) { return nil, notHere("Sweep") }

// MoveAside empties a group so that it can hand controllers down.
func (h *Host) MoveAside(string, int, Controllers, ...int) (*Aside, error) {
	return nil, notHere("MoveAside")
}

// FindAside finds none.
func (h *Host) FindAside(int) *Aside { return nil }

// ShownOnV1 returns none here.
func (h *Host) ShownOnV1() Controllers { return 0 }

func (a *Aside) Dir() string   { return "" }
func (a *Aside) Return() error { return notHere("Return") }

func (w *Owner) Parent() Parent { return Parent{} }
func (w *Owner) FD() int        { return -1 }
func (w *Owner) Close() error   { return notHere("Close") }

// New makes a group there.
func (w *Owner) New(string, Limits, Options) (*Manager, error) { return nil, notHere("New") }

func (m *Manager) Name() string                                 { return "" }
func (m *Manager) KillsWholeLeaf() bool                         { return false }
func (m *Manager) Notes() []string                              { return nil }
func (m *Manager) Missing() Controllers                         { return 0 }
func (m *Manager) Limits() Limits                               { return Limits{} }
func (m *Manager) NewLeaf(string, Limits) (*Leaf, error)        { return nil, notHere("NewLeaf") }
func (m *Manager) LeafPlan(string, Limits) ([]Op, error)        { return nil, notHere("LeafPlan") }
func (m *Manager) Stats() (Stats, error)                        { return Stats{}, notHere("Stats") }
func (m *Manager) Procs() ([]int, error)                        { return nil, notHere("Procs") }
func (m *Manager) Populated() (bool, error)                     { return false, notHere("Populated") }
func (m *Manager) Freeze(time.Time) error                       { return notHere("Freeze") }
func (m *Manager) Thaw(time.Time) error                         { return notHere("Thaw") }
func (m *Manager) Frozen() (bool, error)                        { return false, notHere("Frozen") }
func (m *Manager) Kill(time.Time) error                         { return notHere("Kill") }
func (m *Manager) Update(Limits) error                          { return notHere("Update") }
func (m *Manager) UpdateWith(Limits, func(string) Limits) error { return notHere("Update") }
func (m *Manager) Describe() Description                        { return Description{} }
func (m *Manager) Shown() []string                              { return nil }
func (m *Manager) Delete() error                                { return notHere("Delete") }

func (l *Leaf) Name() string                     { return "" }
func (l *Leaf) Limits() Limits                   { return Limits{} }
func (l *Leaf) FD() int                          { return -1 }
func (l *Leaf) TasksFDs() []int                  { return nil }
func (l *Leaf) Stats() (Stats, error)            { return Stats{}, notHere("Stats") }
func (l *Leaf) Begin() error                     { return notHere("Begin") }
func (l *Leaf) KeepOpen()                        {}
func (l *Leaf) CloseKept()                       {}
func (l *Leaf) Totals() (Stats, error)           { return Stats{}, notHere("Totals") }
func (l *Leaf) CPUUsage() (time.Duration, error) { return 0, notHere("CPUUsage") }
func (l *Leaf) OOMKills() (uint64, error)        { return 0, notHere("OOMKills") }
func (l *Leaf) Procs() ([]int, error)            { return nil, notHere("Procs") }
func (l *Leaf) Populated() (bool, error)         { return false, notHere("Populated") }
func (l *Leaf) Kill(time.Time) error             { return notHere("Kill") }
func (l *Leaf) Describe() Description            { return Description{} }
func (l *Leaf) Delete() error                    { return notHere("Delete") }

func (r *Reader) Stats() (Stats, error)    { return Stats{}, notHere("Stats") }
func (r *Reader) Procs() ([]int, error)    { return nil, notHere("Procs") }
func (r *Reader) Populated() (bool, error) { return false, notHere("Populated") }
func (r *Reader) Frozen() (bool, error)    { return false, notHere("Frozen") }
func (r *Reader) Close() error             { return notHere("Close") }

func (m *Manager) Events(context.Context, EventOptions) (*Events, error) {
	return nil, notHere("Events")
}

func (l *Leaf) Events(context.Context, EventOptions) (*Events, error) { return nil, notHere("Events") }
func (e *Events) Kinds() EventKind                                    { return 0 }
func (e *Events) Ready() <-chan struct{}                              { return nil }
func (e *Events) Take() []Event                                       { return nil }
func (e *Events) Close()                                              {}
func (e *Events) pop() (Event, bool)                                  { return Event{}, false }
