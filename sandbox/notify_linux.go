package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"github.com/belljar-go/belljar/seccomp"
	"golang.org/x/sys/unix"
)

// listening is what a filter needs that somebody answers for: the commands' plans install it with a listener, which comes to the host program.
type listening struct {
	program  seccomp.Program // as the policy says, not as it is loaded
	handlers []seccomp.Handler
	flags    seccomp.Flags // for a listener
	ctx      context.Context
	end      context.CancelFunc // of the sandbox
	live     sync.WaitGroup
}

// planListening decides whether commands have a listener: where the policy asks, or kills, so that it can be told for what.
func (e *engine) planListening(policy seccomp.Policy, prog seccomp.Program) error {
	asks := hasAction(policy, seccomp.Ask)
	if !asks && !hasAction(policy, seccomp.KillProcess) {
		return nil
	}
	flags, err := listenerFlags()
	if err != nil && asks && e.spec.mayGiveUp("WithSeccomp") {
		e.giveUp("WithSeccomp", fmt.Errorf("nobody answers, so what the policy asks about fails with ENOSYS: %w", err))
		return nil
	}
	if err != nil && asks {
		return &Error{Stage: "seccomp", Op: "listener", Err: err}
	}
	if err != nil {
		e.report.Notes = append(e.report.Notes, "seccomp: a denied call ends its process with SIGSYS and is not named: "+err.Error())
		return nil
	}
	l := &listening{program: prog, handlers: e.spec.handlers, flags: flags}
	l.ctx, l.end = context.WithCancel(context.Background())
	e.walls.filter, e.walls.listening = prog.Supervised().Bytes(), l
	return nil
}

// errListenerTaken is why no listener can be had.
var errListenerTaken = &remoteError{
	errno: unix.EBUSY, unsupported: true,
	text:   "a filter that this program runs under has a supervisor, and Linux allows one only",
	remedy: "run the program where its own filter asks nobody (a container engine's notify profile, systemd-nspawn, LXD's interception), or use Errno in place of KillProcess and Ask",
}

// listenerFlags finds out whether filters can have a listener here.
var listenerFlags = func() (seccomp.Flags, error) {
	listenerKnown.Lock()
	defer listenerKnown.Unlock()
	if !listenerKnown.yes && listenerKnown.err == nil {
		flags, err := tryListener()
		if err != nil && !errors.Is(err, errListenerTaken) {
			return 0, err // a moment's lack of processes or memory says nothing of the next
		}
		listenerKnown.yes, listenerKnown.flags, listenerKnown.err = err == nil, flags, err
	}
	return listenerKnown.flags, listenerKnown.err
}

var listenerKnown struct {
	sync.Mutex
	yes   bool
	flags seccomp.Flags
	err   error
}

// tryListener makes a filter with a listener in a process of its own.
func tryListener() (seccomp.Flags, error) {
	flags := newListener
	// Linux 5.19. A flag that is not known is EINVAL before the filter, which is none, is looked at.
	const killable = newListener | seccomp.FlagWaitKillableRecv
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(killable), uintptr(unsafe.Pointer(nil))); e == unix.EFAULT {
		flags = killable
	}
	a := newAssembler()
	a.Stage("seccomp")
	a.noNewPrivs()
	a.Call(unix.SYS_SECCOMP, "seccomp", "listener", plan.Flag(unix.SECCOMP_SET_MODE_FILTER, "SET_MODE_FILTER"), flagsArg(flags), a.Filter(allowAll()))
	proc, err := launch.Launch(&launch.Request{Plan: a.Plan(), Cgroup: -1, Until: time.Now().Add(launchPatience)})
	if errors.Is(err, unix.EBUSY) {
		return 0, errListenerTaken
	}
	if err != nil {
		return 0, err
	}
	_, _ = launch.Wait(proc.PID, nil, 0, nil)
	return flags, unix.Close(proc.PIDFD)
}

func allowAll() []byte {
	return binary.LittleEndian.AppendUint32([]byte{0x06, 0, 0, 0}, uint32(seccomp.Allow))
}

const newListener = seccomp.Flags(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)

// filterFlags are those of the call that installs the filter. There is one thread, whatever the policy says of others.
func (w *walls) filterFlags() plan.Arg {
	flags := w.flags &^ seccomp.FlagTSync
	if w.listening != nil {
		flags |= w.listening.flags
	} else {
		flags &^= seccomp.FlagWaitKillableRecv // EINVAL without a listener
	}
	return flagsArg(flags)
}

func flagsArg(flags seccomp.Flags) plan.Arg {
	if flags&newListener == 0 {
		return plan.Flag(uint64(flags), flags.String())
	}
	return plan.Flag(uint64(flags), strings.ReplaceAll(strings.TrimSpace("NEW_LISTENER "+(flags&^newListener).String()), " ", "|"))
}

// supervision answers for the filter of one command.
type supervision struct {
	e    *engine
	ctx  context.Context
	end  context.CancelFunc
	live sync.WaitGroup

	mu     sync.Mutex
	denied *seccomp.Call
	err    error
}

// handlerPatience is how long handlers are waited for when their command has ended.
const handlerPatience = time.Second

// supervise returns what answers for a command that is about to be started, or nil.
func (e *engine) supervise() *supervision {
	if e.walls.listening == nil {
		return nil
	}
	s := &supervision{e: e}
	s.ctx, s.end = context.WithCancel(e.walls.listening.ctx)
	return s
}

// listen takes over a listener. It is called by the goroutine that reads from the zygote, and does not block.
func (s *supervision) listen(id uint64, fd int) {
	l := s.e.walls.listening
	l.live.Add(1)
	s.live.Add(1)
	go func() {
		defer l.live.Done()
		defer s.live.Done()
		s.e.label(context.Background(), "calls")
		if err := unix.SetNonblock(fd, true); err != nil {
			s.failed(err)
		}
		f := os.NewFile(uintptr(fd), "seccomp listener")
		defer f.Close()
		defer context.AfterFunc(s.ctx, func() { _ = f.Close() })() // though a handler still runs
		sup := &seccomp.Supervisor{
			Program: l.program, Handlers: l.handlers, Failed: s.failed,
			Memory: func(tid int) (io.ReaderAt, error) { return s.e.memory(id, tid) },
			Denied: func(c seccomp.Call) {
				s.deny(c)
				s.live.Go(func() {
					s.e.kill(id)
					s.doom(c)
				})
			},
			Doomed: s.doom,
		}
		if err := sup.Serve(s.ctx, f); err != nil {
			s.failed(err)
			s.e.kill(id) // nobody answers for it any more
		}
	}()
}

// doom ends the process whose call is never to be answered, where no cgroup does it.
func (s *supervision) doom(c seccomp.Call) {
	if !s.e.grouped {
		s.e.killProcess(c.TID)
	}
}

func (s *supervision) deny(c seccomp.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.denied == nil {
		s.denied = &c
	}
}

// failed notes the first thing that went wrong.
func (s *supervision) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = &Error{Stage: "notify", Op: "handler", Err: err}
	}
}

// finish ends the supervision of a command of which nothing is left, and returns what it has found. Where something may be left it goes on till that or the sandbox
// has ended. A handler that does not return is not waited for much longer.
func (s *supervision) finish(left bool) (*seccomp.Call, error) {
	if s == nil {
		return nil, nil
	}
	if !left {
		s.end()
		if !inTimeOf(handlerPatience, s.live.Wait) {
			s.failed(fmt.Errorf("still runs after its command has ended: %w", context.DeadlineExceeded))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.denied, s.err
}

// inTimeOf tells whether f has returned in time.
func inTimeOf(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() { f(); close(done) }()
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}

// memory opens the memory of a thread: by this program's own right, which is quickest, or by the zygote's. A thread of the same number that is
// another's does no harm: what was read counts only if the call still waits afterwards, and then so does its thread.
func (e *engine) memory(command uint64, tid int) (io.ReaderAt, error) {
	if f, err := os.Open(fmt.Sprintf("/proc/%d/mem", tid)); err == nil {
		return f, nil
	}
	_, fds, err := e.z.call(request{kind: wire.Memory, body: wire.MemoryRequest{Command: command, TID: tid}})
	if err != nil {
		return nil, err
	}
	if len(fds) != 1 {
		closeAll(fds)
		return nil, &Error{Stage: "notify", Op: "receive", Err: wire.ErrProtocol}
	}
	return os.NewFile(uintptr(fds[0]), "memory of a thread"), nil
}

// close ends what still answers for leftovers.
func (l *listening) close() {
	if l != nil {
		l.end()
		inTimeOf(handlerPatience, l.live.Wait)
	}
}
