package sandbox

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"syscall"
	"time"
)

// Sandbox is a standing sandbox: namespaces, a root and a cgroup, in which commands can be run, one after another or
// side by side. Its methods may be called from many goroutines. It must be closed.
type Sandbox struct {
	spec *spec // under mu; see asked

	updating  sync.Mutex // held by Update
	cycle     sync.Mutex // held while the sandbox is brought down or made anew
	mu        sync.Mutex
	engine    *engine
	state     State
	done      chan struct{} // closed when the state becomes Exited
	pausing   sync.Mutex    // held while the sandbox is frozen or let go
	listeners map[*eventQueue]struct{}
	live      sync.WaitGroup // commands between Start and the end of Wait's work
	ended     func()         // whenEnded's
	ahead     cloneAhead
}

// Prepare starts the zygote now, the process that sets sandboxes up; otherwise the first New does. Afterwards the
// host program may give up its privileges: the zygote keeps them. It blocks for some milliseconds.
func Prepare() error { return prepare() }

// New sets up a sandbox that is ready for commands. Options say how it differs from the default, which is closed:
// every namespace of its own, no network, no capability, the default filter, the host's programs read-only.
// An option is a requirement: if this host cannot meet it, New returns an error that says why and leaves nothing behind.
// The error is an [*Error].
func New(opts ...Option) (*Sandbox, error) {
	defer region(context.Background(), "sandbox.New").End()
	s, err := newSpec(opts)
	if err != nil {
		return nil, err
	}
	return openSandbox(s)
}

// openSandbox sets up what a spec, which it takes over, asks for.
func openSandbox(s *spec) (*Sandbox, error) {
	e, err := newEngine(s)
	if err != nil {
		return nil, err
	}
	sb := &Sandbox{spec: s, engine: e, state: Running, done: make(chan struct{})}
	sb.watch(e)
	logStages(context.Background(), e.report.Stages)
	return sb, nil
}

// Run runs one command in a sandbox of its own: New, Command, Cmd.Run and Close. Its output is discarded. argv[0] is looked
// up inside; with [WithImage] no argv at all stands for [Sandbox.Entrypoint]. The error is nil however the command ended; see [Result].
func Run(ctx context.Context, argv []string, opts ...Option) (*Result, error) {
	s, err := newSpec(opts)
	if err != nil {
		return nil, err
	}
	if len(argv) == 0 && s.image == nil {
		return nil, invalid("Run", "", "has no command")
	}
	sb, err := openSandbox(s)
	if err != nil {
		return nil, err
	}
	cmd := sb.Entrypoint()
	if len(argv) > 0 {
		cmd = sb.Command(argv[0], argv[1:]...)
	}
	res, err := cmd.Run(ctx)
	if cerr := sb.Close(); err == nil {
		err = cerr
	}
	return res, err
}

// Run runs a command and waits for it. Its input is empty and its output discarded.
func (sb *Sandbox) Run(ctx context.Context, name string, args ...string) (*Result, error) {
	return sb.Command(name, args...).Run(ctx)
}

// watch has noticed that the sandbox ended without being asked to: PID 1 or the zygote was killed.
func (sb *Sandbox) watch(e *engine) {
	e.whenEnded(func() {
		e.label(context.Background(), "watch")
		sb.mu.Lock()
		own := sb.engine == e && sb.state != Exited && sb.state != Restarting
		sb.mu.Unlock()
		if own {
			_ = sb.end()
		}
	})
}

// standing returns the engine of a sandbox that can take commands.
func (sb *Sandbox) standing(op string) (*engine, error) {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	if sb.state == Exited || sb.state == Restarting {
		return nil, &Error{Stage: "sandbox", Op: op, Err: ErrClosed}
	}
	return sb.engine, nil
}

// enter counts a command that Close has to wait for.
func (sb *Sandbox) enter(op string) error {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	if sb.state == Exited || sb.state == Restarting {
		return &Error{Stage: "sandbox", Op: op, Err: ErrClosed}
	}
	sb.live.Add(1)
	return nil
}

// orClosed makes ErrClosed of whatever went wrong with a sandbox that was ending at the same time.
func (sb *Sandbox) orClosed(op string, e *engine, err error) error {
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	if errors.Is(err, syscall.ESRCH) { // PID 1 is gone, and the news of it on its way
		select {
		case <-e.ended:
			return &Error{Stage: "sandbox", Op: op, Err: ErrClosed}
		case <-time.After(time.Second):
		}
	}
	if now, serr := sb.standing(op); serr != nil || now != e {
		return &Error{Stage: "sandbox", Op: op, Err: ErrClosed}
	}
	return err
}

// Pause freezes every process of every command. Commands that are started then stay frozen until Resume. Deadlines go on;
// CPU time does not. It blocks until all are frozen and needs a cgroup: otherwise the error is ErrUnsupported.
func (sb *Sandbox) Pause() error { return sb.freeze("pause", true, Paused) }

// Resume lets a paused sandbox go on.
func (sb *Sandbox) Resume() error { return sb.freeze("resume", false, Running) }

func (sb *Sandbox) freeze(op string, frozen bool, to State) error {
	// One after the other, so that the state is what was done last.
	sb.pausing.Lock()
	defer sb.pausing.Unlock()
	e, err := sb.standing(op)
	if err != nil {
		return err
	}
	if err := e.freeze(frozen); err != nil {
		return sb.orClosed(op, e, err)
	}
	sb.mu.Lock()
	defer sb.mu.Unlock()
	if sb.engine == e && sb.state != to && (sb.state == Running || sb.state == Paused) {
		sb.state = to
		sb.tellState(to)
	}
	return nil
}

// Restart ends everything inside and makes the sandbox anew from the same options, behind the same handle. Commands that ran
// have the verdict Killed. If it fails the sandbox has ended.
func (sb *Sandbox) Restart(ctx context.Context) error {
	defer region(ctx, "sandbox.Restart").End()
	sb.cycle.Lock()
	defer sb.cycle.Unlock()
	sb.mu.Lock()
	if sb.state == Exited {
		sb.mu.Unlock()
		return &Error{Stage: "sandbox", Op: "restart", Err: ErrClosed}
	}
	old := sb.engine
	sb.state = Restarting
	sb.tellState(Restarting)
	sb.mu.Unlock()

	err := old.close()
	if aerr := sb.ahead.renew(); err == nil {
		err = aerr
	}
	if err == nil {
		err = ctx.Err()
	}
	var e *engine
	if err == nil {
		e, err = newEngine(sb.asked().clone())
	}
	if err != nil {
		sb.mu.Lock()
		sb.state = Exited
		sb.mu.Unlock()
		_ = sb.ahead.close()()
		sb.endEvents()
		sb.finish()
		return err
	}
	sb.attachAll(e)
	sb.mu.Lock()
	defer sb.mu.Unlock()
	sb.engine, sb.state = e, Running
	sb.tellState(Running)
	sb.watch(e)
	return nil
}

// asked is the sandbox as it was asked for.
func (sb *Sandbox) asked() *spec {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	return sb.spec
}

// State tells what the sandbox is doing.
func (sb *Sandbox) State() State {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	return sb.state
}

// Stats returns the live accounts of all commands together, ended ones included. It needs a cgroup: otherwise the error is ErrUnsupported.
func (sb *Sandbox) Stats() (Stats, error) {
	e, err := sb.standing("stats")
	if err != nil {
		return Stats{}, err
	}
	s, err := e.stats()
	return s, sb.orClosed("stats", e, err)
}

// Kill ends the sandbox: every process inside is killed and gone when it returns. Running commands have the verdict Killed.
// Killing an ended sandbox does nothing.
func (sb *Sandbox) Kill() error { return sb.end() }

// Close ends the sandbox and gives back all it held: processes, mounts, cgroups, descriptors. It waits for them to be gone, and for output of
// its commands to be delivered, and for a clone that was made ahead of it (see [Sandbox.Clone]). Further calls do nothing. An error says that a process could not be killed, because it waits in the kernel for a device or a
// file system that does not answer; it can do nothing but die.
func (sb *Sandbox) Close() error {
	defer region(context.Background(), "sandbox.Close").End()
	err := sb.end()
	sb.live.Wait()
	return err
}

// end brings the sandbox down, once.
func (sb *Sandbox) end() error {
	sb.cycle.Lock()
	defer sb.cycle.Unlock()
	sb.mu.Lock()
	if sb.state == Exited {
		sb.mu.Unlock()
		return nil
	}
	sb.state = Exited
	e := sb.engine
	sb.mu.Unlock()
	begin := time.Now()
	ahead := sb.ahead.close()
	err := e.close()
	if aerr := ahead(); err == nil {
		err = aerr
	}
	sb.mu.Lock()
	e.lapEnd(begin)
	sb.mu.Unlock()
	sb.endEvents()
	sb.finish()
	return err
}

// finish tells those who wait for the end, once.
func (sb *Sandbox) finish() {
	close(sb.done)
	sb.mu.Lock()
	ended := sb.ended
	sb.mu.Unlock()
	if ended != nil {
		ended()
	}
}

// whenEnded has f called, from whatever goroutine, when the sandbox has ended and all it held is given back. There is one f; it may be called twice.
func (sb *Sandbox) whenEnded(f func()) {
	sb.mu.Lock()
	sb.ended = f
	sb.mu.Unlock()
	select {
	case <-sb.done:
		go f()
	default:
	}
}

// Wait blocks until the sandbox has ended: by Kill, Close, or because what held it is gone.
func (sb *Sandbox) Wait() error {
	<-sb.done
	return nil
}

// PID returns the process ID, on the host, of the sandbox's PID 1, which is the library's own and runs nothing.
func (sb *Sandbox) PID() int {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	sb.engine.show()
	return sb.engine.pid
}

// Report says what is enforced, what was given up and why, and how long the set-up took; of an ended sandbox, also how long ending it did.
func (sb *Sandbox) Report() Report {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	return sb.engine.report.clone()
}

// Plan returns every system call that set the sandbox up, in order, one a line. What clone3(2) makes along with PID 1 is not among them: its user and PID
// namespaces, and, as root, a network namespace that was made ahead of time.
func (sb *Sandbox) Plan() string {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	return sb.engine.text()
}

// WriteFile writes a file inside, with the rights of the job, which it then belongs to. The directory must exist. Paths
// are resolved inside and never lead out, nor to what the job could not write to; what is there and no regular file is an error.
func (sb *Sandbox) WriteFile(path string, data []byte, perm fs.FileMode) error {
	e, err := sb.standing("write file")
	if err != nil {
		return err
	}
	if why := insideFault(path); why != "" {
		return &Error{Stage: "files", Op: "write", Path: path, Err: &mistake{why: why, err: ErrInvalid}}
	}
	return sb.orClosed("write file", e, e.writeFile(path, data, perm.Perm()))
}

// FS returns the files inside, to read results from, with the rights of the job. Symbolic links are
// followed inside and never lead out, nor to what the job could not read; opening what is neither a regular file nor a directory is an error and never blocks.
// fs.ReadFile reads at most 64 MiB. A file may be as large as the job likes without costing it anything: bound what is read by other means.
// It can be used until the sandbox ends.
func (sb *Sandbox) FS() fs.FS { return sandboxFS{sb} }

// Command prepares a command, as exec.Command does: name is looked up inside, in the PATH that the command gets, unless it has a slash.
func (sb *Sandbox) Command(name string, args ...string) *Cmd {
	return &Cmd{Path: name, Args: append([]string{name}, args...), sandbox: sb}
}
