//go:build !linux

package sandbox

import (
	"context"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/rootfs"
)

// Sandboxes are Linux's: elsewhere programs that use them compile, and New says ErrUnsupported.

type engine struct {
	spec    *spec
	pid     int
	grouped bool
	counted bool
	ended   chan struct{}
	report  Report
	ending  []Stage
}

type (
	habit    struct{}
	hostView struct{}
)

type commandSpec struct {
	whole  bool
	alone  bool
	sinks  []*sink
	pass   func(*sink) bool
	path   string
	args   []string
	env    []string
	dir    string
	tty    bool
	limits Limits
	own    Limits
	keep   bool
	asked  time.Time
}

type process struct {
	e    *engine
	pid  int
	cut  bool
	over bool
}

type early struct {
	taken int
	all   bool
	pass  func(int)
}

var (
	errNotHere    = &Error{Stage: "sandbox", Op: "new", Err: ErrUnsupported}
	errNoAccounts = errNotHere
)

func prepare() error                    { return errNotHere }
func newEngine(*spec) (*engine, error)  { return nil, errNotHere }
func resize(*os.File, WindowSize) error { return errNotHere }

func (e *engine) inForce() *spec                       { return e.spec }
func (*engine) update(*spec, cgroup.Limits) error      { return errNotHere }
func (*engine) without(s *spec, _ cgroup.Limits) *spec { return s }
func (*engine) replaceLimits(*spec, cgroup.Limits)     {}
func (*engine) text() string                           { return "" }
func (*engine) whenEnded(func())                       {}
func (*engine) warm(*habit)                            {}
func (*engine) sees(hostView) bool                     { return false }
func viewFor(*spec) (hostView, bool)                   { return hostView{}, false }
func (*engine) close() error                           { return errNotHere }
func (*engine) freeze(bool) error                      { return errNotHere }
func (*engine) watchEvents(func(Event)) (stop func(), missing string, err error) {
	return nil, "", errNotHere
}
func (*engine) show() bool            { return true }
func (*engine) stats() (Stats, error) { return Stats{}, errNotHere }
func (*engine) start(context.Context, *commandSpec, []programFile) (*process, error) {
	return nil, errNotHere
}

func rawPipe(int, uint32) (int, *os.File, error) { return -1, nil, errNotHere }
func closeRaw(int)                               {}
func feedEarly(int, io.Reader) early             { return early{} }
func (*sink) readNow(func([]byte) bool) bool     { return false }

func (*engine) diskFull() bool                       { return false }
func (*engine) delta() (rootfs.Delta, func(), error) { return rootfs.Delta{}, nil, errNotHere }

func (*engine) archived() (rootfs.Delta, func(), error) { return rootfs.Delta{}, nil, errNotHere }

func (*engine) terminal(WindowSize) (control, end *os.File, err error) { return nil, nil, errNotHere }
func (*engine) readFile(string) (fs.File, error)                       { return nil, errNotHere }
func (*engine) writeFile(string, []byte, fs.FileMode) error            { return errNotHere }
func (*process) kill()                                                 {}
func (*process) signal(syscall.Signal) error                           { return errNotHere }
func (*process) stats() (Stats, error)                                 { return Stats{}, errNotHere }
func (*process) wait() (*exitFacts, error)                             { return nil, errNotHere }
