package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/belljar-go/belljar/sandbox"
)

// subject is one way to run the program: without a sandbox, in one of ours, in a peer's.
type subject struct {
	name   string
	run    func() error                         // the static program, from nothing to its end
	remote func() (time.Duration, error)        // the same in another process, which says how long it took; instead of run
	look   func(args ...string) (string, error) // the job's output, for a probe of the isolation
	settle func()                               // waits for what a run has left to be done in the background; may be nil
	stop   func() error                         // gives everything back; may be nil
	peer   bool
	// why it cannot be measured, instead of the rest
	absent string
}

// lab is what the subjects share.
type lab struct {
	ctx  context.Context
	root *root
	opts []sandbox.Option
	dir  string // of the bench's own
}

func newLab(ctx context.Context, dir string) (*lab, error) {
	r, err := makeRoot(dir)
	if err != nil {
		return nil, err
	}
	return labIn(ctx, dir, r), nil
}

// labIn is a lab with a root that is there.
func labIn(ctx context.Context, dir string, r *root) *lab {
	return &lab{ctx: ctx, root: r, dir: dir, opts: []sandbox.Option{
		sandbox.WithRootfs(r.dir), sandbox.BestEffort(sandbox.WithMemory("64m")), sandbox.BestEffort(sandbox.WithPids(20)),
	}}
}

// runIn runs the program in a sandbox that stands.
func (l *lab) runIn(sb *sandbox.Sandbox) error {
	res, err := sb.Run(l.ctx, "/true")
	if err != nil {
		return err
	}
	return res.Err()
}

// lookIn runs the job in one.
func (l *lab) lookIn(sb *sandbox.Sandbox, args []string) (string, error) {
	out, err := sb.Command("/job", args...).Output(l.ctx)
	return string(out), err
}

// floor is the least that running a program costs: Go's own spawn, which is a vfork as long as no user namespace is asked for.
func (l *lab) floor() *subject {
	return &subject{
		name: "fork+exec",
		run:  func() error { return spawn(l.root.path("true"), nil, "true") },
		look: func(args ...string) (string, error) { return output(l.root.path("job"), args...) },
	}
}

// spawn runs a program to its end, with nothing around it.
func spawn(path string, extra *os.File, argv ...string) error {
	return spawnWith(nil, path, extra, argv...)
}

func spawnWith(sys *syscall.SysProcAttr, path string, extra *os.File, argv ...string) error {
	attr := &syscall.ProcAttr{Sys: sys, Files: []uintptr{devNull.Fd(), devNull.Fd(), devNull.Fd()}, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}}
	if extra != nil {
		attr.Files = append(attr.Files, extra.Fd())
	}
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return err
	}
	ws, err := reap(pid)
	if err != nil {
		return err
	}
	if !ws.Exited() || ws.ExitStatus() != 0 {
		return fmt.Errorf("%s: wait status %#x", path, int(ws))
	}
	return nil
}

// reap waits for a child.
func reap(pid int) (ws syscall.WaitStatus, err error) {
	for {
		if _, err = syscall.Wait4(pid, &ws, 0, nil); !errors.Is(err, syscall.EINTR) {
			return ws, err
		}
	}
}

var devNull = func() *os.File {
	f, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	return f
}()

// once is a sandbox for one command.
func (l *lab) once(open func() (*sandbox.Sandbox, error), use func(*sandbox.Sandbox) error) error {
	sb, err := open()
	if err != nil {
		return err
	}
	return errors.Join(use(sb), sb.Close())
}

// single is a subject that has a sandbox of its own each time.
func (l *lab) single(name string, open func() (*sandbox.Sandbox, error)) *subject {
	return &subject{
		name: name,
		run:  func() error { return l.once(open, l.runIn) },
		look: func(args ...string) (out string, err error) {
			err = l.once(open, func(sb *sandbox.Sandbox) error { out, err = l.lookIn(sb, args); return err })
			return out, err
		},
	}
}

// cold: New, Run, Close.
func (l *lab) cold() (*subject, error) {
	return l.single("belljar cold", func() (*sandbox.Sandbox, error) { return sandbox.New(l.opts...) }), nil
}

// fresh: Clone of one that stands, Run, Close.
func (l *lab) fresh() (*subject, error) {
	sb, err := sandbox.New(l.opts...)
	if err != nil {
		return nil, err
	}
	s := l.single("belljar fresh", func() (*sandbox.Sandbox, error) { return sb.Clone() })
	s.stop = sb.Close
	return s, nil
}

// warm: another command in one that stands.
func (l *lab) warm() (*subject, error) {
	sb, err := sandbox.New(l.opts...)
	if err != nil {
		return nil, err
	}
	return &subject{
		name: "belljar warm",
		run:  func() error { return l.runIn(sb) },
		look: func(args ...string) (string, error) { return l.lookIn(sb, args) },
		stop: sb.Close,
	}, nil
}

// judged: the same as an online judge runs it, with input, captured output and limits on time.
func (l *lab) judged() (*subject, error) {
	sb, err := sandbox.New(l.opts...)
	if err != nil {
		return nil, err
	}
	limits := sandbox.Limits{WallTime: 10 * time.Second}
	if _, err := sb.Stats(); err == nil { // there are accounts to limit CPU time by
		limits.CPUTime = 5 * time.Second
	}
	return &subject{
		name: "belljar judged",
		run: func() error {
			cmd := sb.Command("/true")
			cmd.Stdin = strings.NewReader("1 2\n")
			cmd.Limits = limits
			out, err := cmd.CombinedOutput(l.ctx)
			if err == nil && len(out) > 0 {
				err = fmt.Errorf("/true prints %q", out)
			}
			return err
		},
		look: func(args ...string) (string, error) { return l.lookIn(sb, args) },
		stop: sb.Close,
	}, nil
}

// pooled: Get, Run, Close of one made ahead of time. The pool is full again before anybody's next turn, or it would be measured how fast
// it fills, which is what throughput shows.
func (l *lab) pooled() (*subject, error) {
	const size = 4
	p, err := sandbox.NewPool(size, l.opts...)
	if err != nil {
		return nil, err
	}
	s := l.single("belljar pool", func() (*sandbox.Sandbox, error) { return p.Get(l.ctx) })
	s.settle = func() {
		for p.Stats().Ready < size && l.ctx.Err() == nil {
			time.Sleep(100 * time.Microsecond)
		}
	}
	s.stop = p.Close
	return s, nil
}

// ours are the subjects of the library, each of which this host must be able to run.
func (l *lab) ours() ([]*subject, error) {
	all := []*subject{l.floor()}
	for _, make := range []func() (*subject, error){l.warm, l.judged, l.pooled, l.fresh, l.cold} {
		s, err := make()
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
	return all, nil
}

// stopAll gives back what subjects hold.
func stopAll(all []*subject) error {
	var errs []error
	for _, s := range all {
		if s.stop != nil {
			errs = append(errs, s.stop())
		}
	}
	return errors.Join(errs...)
}
