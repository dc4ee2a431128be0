package seccomp

import (
	"fmt"
	"io"
)

// Supervisor answers for the calls that a filter asks about, by its listener. In a sandbox there is one for each command whose
// policy kills or asks; it is here for those who load filters themselves.
type Supervisor struct {
	// Program is the policy's program, not what it is loaded as, see [Program.Supervised]. It says which of the calls asked
	// about are to be answered and which are to be killed for.
	Program Program
	// Handlers answer, each for its calls. A call for which there is none is refused with ENOSYS.
	Handlers []Handler
	// Memory opens the memory of a thread, for [Call.Read]; it is closed when the call has been answered if it is an io.Closer.
	// Nil stands for /proc/TID/mem, which needs the right to trace the thread.
	Memory func(tid int) (io.ReaderAt, error)
	// Denied is called, once, with the first call that Program kills for. The calling thread waits until it is killed, which is for Denied to bring
	// about; the call is never made. From then on nothing is answered any more.
	Denied func(Call)
	// Doomed, if set, is called with each call that comes after that one, by whatever thread: it waits as well.
	Doomed func(Call)
	// Failed, if set, is told of a handler that panicked, was late, or gave an answer that the kernel refused.
	Failed func(error)
}

// maxAtOnce bounds the handlers that run at a time for one listener. Further calls wait in the kernel, each for its thread: a flood
// of calls costs the supervisor nothing.
const maxAtOnce = 16

// maxLate bounds the handlers that run on after their time is up. While there are so many, calls are refused unasked.
const maxLate = 64

// HandlerError is what [Supervisor.Failed] is told.
type HandlerError struct {
	Call  Call
	Panic any    // what the handler panicked with; nil if it did not
	Stack []byte // of the panic
	Err   error  // otherwise
}

// Error has the form "handler for connect(fd=3, …): panic: …".
func (e *HandlerError) Error() string {
	if e.Panic != nil {
		return fmt.Sprintf("handler for %v: panic: %v", e.Call, e.Panic)
	}
	return fmt.Sprintf("handler for %v: %v", e.Call, e.Err)
}

// Unwrap gives Err, or the error that the handler panicked with.
func (e *HandlerError) Unwrap() error {
	if err, ok := e.Panic.(error); ok {
		return err
	}
	return e.Err
}

// handler finds who answers for a call.
func (s *Supervisor) handler(c Call) (Handler, bool) {
	name, known := c.Arch.Name(c.Number)
	var every Handler
	for _, h := range s.Handlers {
		if known && h.name == name {
			return h, true
		}
		if h.name == EveryCall {
			every = h
		}
	}
	return every, every.answer != nil
}
