package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// captureLimit bounds what Output and CombinedOutput hold in memory where no limit on output has been set: a flood must not fill the
// host program's memory.
const captureLimit = 64 << 20

// Cmd is a command in a sandbox, made by [Sandbox.Command]. Its fields mean what they mean in [os/exec.Cmd], inside the sandbox. It can be started
// once, and its fields must not be changed after that.
type Cmd struct {
	// Path is the program: a path inside, or a name to be looked up in the command's PATH.
	Path string
	// Args are the arguments, Args[0] the name by which the program knows itself. Empty stands for {Path}.
	Args []string
	// Env is the environment, "NAME=value" each. Nil stands for the sandbox's, see [WithEnv]; of the host program's nothing is passed on.
	Env []string
	// Dir is the working directory inside. Empty stands for the sandbox's: see [WithDir].
	Dir string

	// Stdin is where standard input comes from. Nil is an empty input; an *os.File is handed to the program itself; anything
	// else is copied by a goroutine, for which Wait does not wait, since reading it may block forever.
	Stdin io.Reader
	// Stdout and Stderr are where output goes. Nil discards it; an *os.File is handed to the program itself unless output is
	// limited; to anything else a goroutine copies, and Wait waits until all is copied. If both are the same and comparable, at most one goroutine at a time writes.
	// A bytes.Buffer or strings.Builder that panics has Wait, or Run, panic when the command has ended; a nil pointer to one is an error at the start, as for Stdin.
	Stdout io.Writer
	Stderr io.Writer
	// ExtraFiles become descriptors 3, 4, … of the program. They stay the caller's. A nil entry is /dev/null.
	ExtraFiles []*os.File

	// Limits are the command's own, no looser than the sandbox's.
	Limits Limits
	// TTY gives the program a terminal of this size as standard input, output and error, and makes it the session's controlling
	// terminal. What it prints goes to Stdout; what is read from Stdin is typed. Stderr must be nil.
	TTY *WindowSize
	// KeepLeftovers lets processes that the program leaves behind live on until the sandbox ends. It needs a cgroup, to tell them from others'. Otherwise they are killed when the program
	// ends.
	KeepLeftovers bool

	sandbox *Sandbox
	proc    *process
	limits  Limits
	started atomic.Bool

	pipes    []*os.File // ends the caller has: closed by Wait
	childs   []*os.File // ends of the program: closed after Start
	copiers  sync.WaitGroup
	readers  []*os.File // our ends that are read from
	writers  []*os.File // our ends that are written to
	inlet    *inlet     // of standard input
	copyErr  atomic.Pointer[error]
	panicked atomic.Pointer[any] // what a writer has panicked with, see write
	sinks    []*sink
	relays   []*os.File    // ends of the caller's pipes that output is copied to
	waiting  chan struct{} // closed by Wait
	meter    *meter
	tty      *os.File
	ttyMu    sync.Mutex

	canceled atomic.Pointer[error]
	killed   atomic.Bool
	over     atomic.Bool   // output went past its limit
	done     chan struct{} // closed when the command has ended
	waited   atomic.Bool
	result   *Result
	waitErr  error

	handlerErr error // beside the result

	begun  time.Time
	asked  time.Time // when the zygote was asked to start it
	traced atomic.Pointer[traced]
}

// Start starts the command and returns when the program has been executed. If it cannot be, the error is an [*Error] of stage "exec" whose errno is as for
// execve(2): ENOENT if there is no such program, EACCES if it may not be executed, ENOEXEC if it is no program. If ctx is done before the program has
// ended, the whole command is killed.
func (c *Cmd) Start(ctx context.Context) error {
	defer c.beginTask(ctx, "sandbox.Start").End()
	if err := c.begin(ctx, false); err != nil {
		return err
	}
	go func() { c.label(ctx, "wait"); c.attend(ctx) }()
	return nil
}

// begin is Start without anybody who attends to the command. If whole is set nobody needs to know when it has started.
func (c *Cmd) begin(ctx context.Context, whole bool) error {
	if ctx == nil {
		return invalid("Start", "", "has a nil context")
	}
	if c.sandbox == nil {
		return invalid("Start", "", "is of no sandbox: use Sandbox.Command")
	}
	if !c.started.CompareAndSwap(false, true) {
		return &Error{Stage: "exec", Op: "start", Path: c.Path, Err: errors.New("command has been started already")}
	}
	c.begun = time.Now()
	err := c.start(ctx, whole)
	if err != nil {
		closeFiles(c.childs, c.readers, c.writers, c.relays, c.pipes)
		c.inlet.close()
		for _, s := range c.sinks {
			s.close()
		}
		c.copiers.Wait()
		c.endTask()
	}
	return err
}

func (c *Cmd) start(ctx context.Context, whole bool) error {
	e, err := c.sandbox.standing("start")
	if err != nil {
		return err
	}
	if err := c.Limits.validate(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.limits = e.inForce().commandLimits(c.Limits)
	if c.limits.CPUTime > 0 && !e.counted {
		return &Error{Stage: "cgroup", Op: "Limits.CPUTime", Path: c.limits.CPUTime.String(), Err: errNoAccounts}
	}
	if !e.grouped && (c.Limits.Memory > 0 || c.Limits.Pids > 0) {
		return &Error{Stage: "cgroup", Op: "Limits", Err: errNoAccounts}
	}
	if !e.grouped && c.KeepLeftovers {
		return &Error{Stage: "cgroup", Op: "KeepLeftovers", Err: errNoAccounts}
	}
	spec, err := c.spec(e)
	if err != nil {
		return err
	}
	if err := c.checkStreams(); err != nil {
		return err
	}
	c.done, c.waiting = make(chan struct{}), make(chan struct{})
	files, err := c.files(e)
	if err != nil {
		return err
	}
	if err := c.sandbox.enter("start"); err != nil {
		return err
	}
	// What is copied has to be copied from the start: by whoever waits for the end, for a moment.
	fed := c.inlet == nil || c.inlet.all
	spec.whole = whole && fed && len(c.sinks) == 0
	spec.alone = whole && fed && c.tty == nil && len(c.relays) == 0
	spec.sinks, spec.pass = c.sinks, c.passOn
	if c.proc, err = e.start(ctx, spec, files); err != nil {
		c.sandbox.live.Done()
		return c.sandbox.orClosed("start", e, err)
	}
	c.asked = spec.asked
	closeFiles(c.childs)
	c.childs = nil
	c.startCopying(ctx)
	return nil
}

// spec fills in the defaults.
func (c *Cmd) spec(e *engine) (*commandSpec, error) {
	s := &commandSpec{path: c.Path, args: c.Args, env: c.Env, dir: c.Dir, tty: c.TTY != nil, limits: c.limits, own: c.Limits, keep: c.KeepLeftovers}
	if len(s.args) == 0 {
		s.args = []string{c.Path}
	}
	if s.env == nil {
		s.env = e.spec.env
	}
	if s.dir == "" {
		s.dir = e.spec.workDir()
	} else if why := dirFault(s.dir); why != "" {
		return nil, invalid("Cmd.Dir", s.dir, why)
	}
	for _, list := range [][]string{{s.path, s.dir}, s.args, s.env} {
		for _, v := range list {
			if bytes.IndexByte([]byte(v), 0) >= 0 {
				return nil, &Error{Stage: "exec", Op: "execve", Path: v, Err: &mistake{why: "has a NUL byte", err: ErrInvalid}}
			}
		}
	}
	if s.path == "" {
		return nil, &Error{Stage: "exec", Op: "execve", Err: &mistake{why: "has no program", err: ErrInvalid}}
	}
	return s, nil
}

// attend ends the command when ctx is done, waits for its end, and finishes everything about it.
func (c *Cmd) attend(ctx context.Context) {
	defer c.sandbox.live.Done()
	cut := make(chan struct{})
	cancel := func() {
		err := context.Cause(ctx)
		c.canceled.Store(&err)
		c.proc.kill()
	}
	if c.proc.cut {
		cancel()
	}
	stop := context.AfterFunc(ctx, func() { defer close(cut); cancel() })
	exit, err := c.proc.wait()
	if !stop() {
		<-cut
	}
	ended := time.Now()
	c.finishCopying(ctx)
	if err != nil {
		c.waitErr = err
	} else {
		took := c.stages(exit, ended)
		c.result, c.handlerErr = c.judge(exit), exit.handlerErr
		c.result.stages = took
	}
	c.endTask()
	close(c.done)
}

// Wait waits until the command has ended, nothing of it is left and its output has been copied. The error is about the
// sandbox, about copying or about a handler of [WithSeccomp], not about how the program ended: see the result's Verdict, or Result.Err. Start must have succeeded.
func (c *Cmd) Wait() (*Result, error) {
	if c.proc == nil {
		return nil, &Error{Stage: "wait", Op: "wait", Path: c.Path, Err: errors.New("command has not been started")}
	}
	if !c.waited.CompareAndSwap(false, true) {
		return nil, &Error{Stage: "wait", Op: "wait", Path: c.Path, Err: errors.New("Wait has been called already")}
	}
	defer c.region("sandbox.Wait").End()
	close(c.waiting)
	<-c.done
	return c.outcome()
}

// outcome is what Wait returns once all is done.
func (c *Cmd) outcome() (*Result, error) {
	closeFiles(c.pipes)
	if p := c.panicked.Load(); p != nil {
		panic(*p)
	}
	if c.waitErr != nil {
		return nil, c.waitErr
	}
	if p := c.copyErr.Load(); p != nil && c.result.Verdict == OK {
		return c.result, *p
	}
	return c.result, c.handlerErr
}

// Run is Start and Wait. Of commands that follow each other in a standing sandbox it is the fastest way: with it, and with Output and CombinedOutput, this program starts most of them itself, without
// a turn of its zygote, where input comes from a file or from memory (a strings.Reader, bytes.Reader or bytes.Buffer of at most 64 kB), and there is neither a terminal nor a handler of calls.
func (c *Cmd) Run(ctx context.Context) (*Result, error) {
	defer c.beginTask(ctx, "sandbox.Run").End()
	if err := c.begin(ctx, true); err != nil {
		return nil, err
	}
	c.waited.Store(true)
	close(c.waiting)
	c.attend(ctx)
	return c.outcome()
}

// Output runs the command and returns its standard output. Unlike in os/exec a program that did not end well is an error too: an
// [*ExitError], beside what it printed. Without a limit on output it holds at most 64 MiB, and more is OutputExceeded.
func (c *Cmd) Output(ctx context.Context) ([]byte, error) {
	if c.Stdout != nil {
		return nil, invalid("Output", "", "does not go with Stdout")
	}
	var b bytes.Buffer
	c.Stdout = &b
	return c.capture(ctx, &b)
}

// CombinedOutput is Output with standard error mixed in.
func (c *Cmd) CombinedOutput(ctx context.Context) ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, invalid("CombinedOutput", "", "does not go with Stdout or Stderr")
	}
	var b bytes.Buffer
	c.Stdout, c.Stderr = &b, &b
	return c.capture(ctx, &b)
}

func (c *Cmd) capture(ctx context.Context, b *bytes.Buffer) ([]byte, error) {
	if c.Limits.Output == 0 && c.sandbox != nil && c.sandbox.asked().run.Output == 0 {
		c.Limits.Output = captureLimit
	}
	res, err := c.Run(ctx)
	if err == nil {
		err = res.Err()
	}
	return b.Bytes(), err
}

// Signal sends a signal to the program, not to what it started. os.ErrProcessDone says that it has ended.
func (c *Cmd) Signal(sig os.Signal) error {
	s, ok := sig.(syscall.Signal)
	if !ok {
		return invalid("Signal", "", "is no signal of this system")
	}
	if c.hasNoProcess() {
		return os.ErrProcessDone
	}
	return c.proc.signal(s)
}

// Kill ends the command and everything it started. The verdict is Killed. It does not wait: Wait does.
func (c *Cmd) Kill() error {
	if c.hasNoProcess() {
		return os.ErrProcessDone
	}
	c.killed.Store(true)
	c.proc.kill()
	return nil
}

// PID returns the program's process ID on the host, 0 before Start.
func (c *Cmd) PID() int {
	if c.proc == nil {
		return 0
	}
	c.proc.e.show()
	return c.proc.pid
}

// Stats returns the live accounts of the command. It needs a cgroup: otherwise the error is ErrUnsupported. Once the command has ended it is
// os.ErrProcessDone, and the accounts are in its Result.
func (c *Cmd) Stats() (Stats, error) {
	if c.hasNoProcess() {
		return Stats{}, os.ErrProcessDone
	}
	return c.proc.stats()
}

// hasNoProcess tells whether the command has not been started, or has ended. The zygote may know it for a moment longer.
func (c *Cmd) hasNoProcess() bool {
	if c.proc == nil {
		return true
	}
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// judge makes the result.
func (c *Cmd) judge(x *exitFacts) *Result {
	f := verdictFacts{
		exited: x.exited, code: x.code, signal: x.signal,
		wall: x.wallHit, output: c.over.Load(), denied: x.denied != nil,
		cpuUsed: x.cpu(), cpuLimit: c.limits.CPUTime,
		oomGroup: c.limits.Memory > 0 || c.proc.e.inForce().limits.Memory > 0, oomKills: x.stats.Memory.OOMKills, pidsHits: x.stats.Pids.LimitHits,
		killed: c.killed.Load() && x.killed && !x.exited,
	}
	if x.cpuHit {
		f.cpuUsed = max(f.cpuUsed, c.limits.CPUTime+time.Nanosecond)
	}
	r := &Result{ExitCode: -1, Truncated: c.over.Load()}
	// A kill that came too late has ended nothing.
	switch p := c.canceled.Load(); {
	case f.killed || !x.killed || x.exited:
	case f.denied: // that was what it was killed for
	case p != nil:
		f.canceled, r.cause = true, *p
	case !f.output:
		f.killed = true // with the whole sandbox
	}
	if x.exited {
		r.ExitCode = x.code
	} else {
		r.Signal = x.signal
	}
	r.Verdict = decideVerdict(f)
	switch r.Verdict {
	case SyscallDenied:
		r.Denied, r.Syscall, r.Signal, r.ExitCode = x.denied, x.denied.String(), sigSys, -1
	case NonZeroExit, Signaled:
		// Only here does it matter, so only here is it asked for.
		f.disk = c.proc.e.diskFull()
		r.Verdict = decideVerdict(f)
	}
	r.Usage = x.usage()
	return r
}
