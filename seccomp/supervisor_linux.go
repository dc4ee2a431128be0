package seccomp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Serve answers until no process is under the filter any more, or ctx is done. The listener has to be in non-blocking mode (O_NONBLOCK) before
// os.NewFile makes a file of it. It stays the caller's, who closes it: then, or when this process ends, the kernel answers whatever is
// asked with ENOSYS. Serve waits for handlers that still run, whose [Call.Context] is done. The error is nil, or says that the listener is none.
func (s *Supervisor) Serve(ctx context.Context, file *os.File) error {
	l, err := newListener(file)
	if err != nil {
		if ctx.Err() != nil {
			return nil // and the file closed, before this had begun
		}
		return err
	}
	v := &service{Supervisor: s, listener: l, free: make(chan struct{}, maxAtOnce)}
	var cancel func()
	v.ctx, cancel = context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })
	defer v.handlers.Wait()
	defer cancel()
	defer stop()
	for denied := false; ; {
		// Nothing is received that nobody is free for: it waits in the kernel, where a signal can still get at its thread.
		select {
		case v.free <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		c, id, err := l.receive()
		if err != nil {
			return l.ended(ctx, err)
		}
		if denied || s.Program.Decide(c) == KillProcess {
			told := s.Denied
			if denied {
				told = s.Doomed
			}
			if told != nil {
				told(c)
			}
			denied = true
			cancel() // handlers under way work for nothing
			<-v.free
			continue
		}
		v.handlers.Go(func() { v.answer(c, id) })
	}
}

// service is one Serve.
type service struct {
	*Supervisor
	*listener
	ctx      context.Context // of the handlers
	free     chan struct{}   // holds one for each handler in time
	late     atomic.Int32    // handlers that have not returned in time
	handlers sync.WaitGroup
}

// answer asks the handler for one call.
func (v *service) answer(c Call, id uint64) {
	h, ok := v.handler(c)
	if !ok || v.late.Load() >= maxLate {
		<-v.free
		refusal := Refuse(unix.ENOSYS)
		if ok {
			refusal = Answer{}
		}
		_ = v.send(id, refusal)
		return
	}
	mem := &thread{open: v.Memory, tid: c.TID}
	defer mem.close()
	until := h.within
	if until == 0 {
		until = 1<<63 - 1
	}
	ctx, cancel := context.WithTimeout(v.ctx, until)
	defer cancel()
	c.pending = &pending{ctx: ctx, valid: func() bool { return v.valid(id) }, memory: mem.memory}
	if h.within == 0 {
		defer func() { <-v.free }()
		v.ask(h, c, func(a Answer) { v.reply(c, id, a) })
		return
	}
	answers := make(chan Answer, 1)
	v.handlers.Go(func() { v.ask(h, c, func(a Answer) { answers <- a }) })
	select {
	case a := <-answers:
		if ctx.Err() == nil {
			<-v.free
			v.reply(c, id, a)
			return
		}
		answers <- a // it came when its time was up already
	case <-ctx.Done():
	}
	v.late.Add(1)
	<-v.free
	v.reply(c, id, Answer{})
	if v.ctx.Err() == nil {
		v.failed(&HandlerError{Call: c.alone(), Err: fmt.Errorf("no answer within %v: %w", h.within, context.DeadlineExceeded)})
	}
	mem.close()
	if a := <-answers; a.file != nil {
		_ = a.file.Close()
	}
	v.late.Add(-1)
}

// ask calls the handler and passes its answer on. One that does not return, by a panic or runtime.Goexit, has refused.
func (s *Supervisor) ask(h Handler, c Call, answer func(Answer)) {
	returned := false
	defer func() {
		if returned {
			return
		}
		why := recover()
		if why == nil {
			why = "runtime.Goexit"
		}
		s.failed(&HandlerError{Call: c.alone(), Panic: why, Stack: debug.Stack()})
		answer(Answer{})
	}()
	a := h.answer(c)
	returned = true
	answer(a)
}

// reply sends an answer. One that comes when the supervision has ended, or a call has been killed for, is too late: a handler that returns because its
// context is done has decided nothing. The call waits until it is killed, or the listener closed, which is ENOSYS.
func (v *service) reply(c Call, id uint64, a Answer) {
	if a.file != nil {
		defer a.file.Close()
	}
	if v.ctx.Err() != nil {
		return
	}
	err := v.send(id, a)
	if err == nil || errors.Is(err, unix.ENOENT) || errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EINPROGRESS) {
		return // answered, or nobody waits any more
	}
	var full syscall.Errno
	if errors.As(err, &full) && full == unix.EMFILE {
		_ = v.send(id, Refuse(full)) // the program's own limit
		return
	}
	v.failed(&HandlerError{Call: c.alone(), Err: fmt.Errorf("answer %v: %w", a, err)})
	_ = v.send(id, Answer{})
}

func (s *Supervisor) failed(err error) {
	if s.Failed != nil {
		s.Failed(err)
	}
}

// thread is the memory of a calling thread, opened when a handler first looks at it.
type thread struct {
	open func(tid int) (io.ReaderAt, error)
	tid  int

	mu  sync.Mutex
	mem io.ReaderAt
	err error
}

func (t *thread) memory() (io.ReaderAt, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mem == nil && t.err == nil {
		if t.open != nil {
			t.mem, t.err = t.open(t.tid)
		} else {
			t.mem, t.err = openMemory(t.tid)
		}
	}
	return t.mem, t.err
}

func openMemory(tid int) (io.ReaderAt, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", tid))
	if err != nil {
		return nil, err
	}
	return f, nil
}

// close ends what the call could read. A handler that is late finds nothing.
func (t *thread) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c, ok := t.mem.(io.Closer); ok {
		_ = c.Close()
	}
	if t.err == nil {
		t.mem, t.err = nil, ErrGone
	}
}
