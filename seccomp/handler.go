package seccomp

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Handler answers for a call, see [Notify].
type Handler struct {
	name   string
	answer func(Call) Answer
	within time.Duration
}

// EveryCall is the name under which [Notify] answers for the calls that no other handler is for.
const EveryCall = "*"

// Notify gives a call to a function of the host program's, which answers it. The handler is no part of a [Policy], whose
// value and compiled program stay what they are: it goes beside it, to sandbox.WithSeccomp or a [Supervisor]. It is
// asked whenever the policy decides [Ask] for the call. A policy that has no such rule for it gets one in place of
// those it has: see [Policy.Handled].
//
// The function may be called from several goroutines at once. While it thinks, the calling thread waits; other threads of
// the program go on. Answering takes two to three switches between processes: measured in a sandbox, a
// hundred to a hundred and fifty times as long as the plainest system call, and two thirds more where the handler reads memory (BenchmarkAsked).
//
// # What an answer may rest on
//
// Numbers in [Call.Args] are what the kernel will use. What pointers point to is not: between the handler's look at a path
// and the kernel's, another thread of the program can put another path there. So:
//
//   - Never answer [Continue] because of what a pointer points to. It is right for handlers that only watch, or decide
//     by numbers, and where the rest of the walls does not let the program do harm whatever it says.
//   - To grant something that a pointer names, do it on the program's behalf with the bytes that [Call.Read] gave, and
//     answer with the result: open the file and [Inject] it, connect the socket and Inject it, or [Return].
//   - To refuse, [Refuse]: if the program has changed its memory meanwhile, that call is refused.
//
// Where the policy lets a sub-architecture in, its programs' calls come too, as [Call.Arch] says: what their pointers point to has its layout.
//
// A handler that panics answers EPERM, and so does one that takes longer than [Handler.Within] allows.
func Notify(name string, answer func(Call) Answer) Handler {
	return Handler{name: name, answer: answer}
}

// Within gives the handler a time to answer in. After it the call is refused with EPERM and what the function answers later is
// dropped. The zero Handler has all the time the program has.
func (h Handler) Within(d time.Duration) Handler {
	h.within = d
	return h
}

// Name is the call the handler is for, or [EveryCall].
func (h Handler) Name() string { return h.name }

// Answer is what becomes of a call. The zero Answer refuses it with EPERM.
type Answer struct {
	kind  answerKind
	errno syscall.Errno
	value int64
	file  *os.File
	keep  bool // the program's own execs keep the descriptor
}

type answerKind uint8

const (
	answerRefuse answerKind = iota
	answerContinue
	answerReturn
	answerInject
)

// Continue has the kernel execute the call, with the memory as it is then: see [Notify] on what that must not rest on.
func Continue() Answer { return Answer{kind: answerContinue} }

// Refuse fails the call with an error, without it having been made. Errors outside 1 to 4095 are EPERM.
func Refuse(e syscall.Errno) Answer { return Answer{errno: e} }

// Return has the call seem to succeed with this result, without it having been made.
func Return(value int64) Answer { return Answer{kind: answerReturn, value: value} }

// Inject gives the program a copy of a file as its lowest free descriptor, whose number is the result of the call. The copy closes on
// exec. The file is the supervisor's from then on, which closes it.
func Inject(f *os.File) Answer { return Answer{kind: answerInject, file: f} }

// Inherited has the descriptor that [Inject] gives stay open when the program executes another.
func (a Answer) Inherited() Answer {
	a.keep = true
	return a
}

// String says what the answer is: "continue", "errno 1", "return 0", "descriptor".
func (a Answer) String() string {
	switch a.kind {
	case answerContinue:
		return "continue"
	case answerReturn:
		return fmt.Sprintf("return %d", a.value)
	case answerInject:
		return "descriptor"
	}
	return Errno(a.refusal()).String()
}

func (a Answer) refusal() syscall.Errno {
	if a.errno < 1 || a.errno > maxErrno {
		return eperm
	}
	return a.errno
}

// Handled gives the policy in which each of the handlers is asked: a call with a handler of its own that no rule decides as
// [Ask] gets that rule, for any arguments, in place of those it has. An error, an [ErrInvalid], says that a handler makes no sense
// or that the policy asks about a call for which there is none.
func (p Policy) Handled(handlers ...Handler) (Policy, error) {
	seen := map[string]bool{}
	for _, h := range handlers {
		switch {
		case h.answer == nil:
			return Policy{}, handlerError(h.name, "it has no function", ErrInvalid)
		case seen[h.name]:
			return Policy{}, handlerError(h.name, "there are two", ErrConflict)
		case h.within < 0:
			return Policy{}, handlerError(h.name, "its time is negative", ErrInvalid)
		case h.name != EveryCall && !isCall(h.name):
			return Policy{}, handlerError(h.name, "", ErrUnknownCall)
		}
		seen[h.name] = true
		if h.name != EveryCall && !p.asks(h.name) {
			p = p.With(Rule{Names: []string{h.name}, Action: Ask})
		}
	}
	if seen[EveryCall] {
		return p, nil
	}
	if p.Default == Ask || p.unknown() == Ask {
		return Policy{}, handlerError("", "it asks about calls that no rule names, which takes a handler for every call", ErrInvalid)
	}
	for i, r := range p.Rules {
		for _, name := range r.Names {
			if r.Action == Ask && r.on(NativeArch()) && !seen[name] {
				return Policy{}, &PolicyError{Rule: i, Call: name, Reason: "it asks, and no handler answers", Err: ErrInvalid}
			}
		}
	}
	return p, nil
}

func handlerError(name, why string, err error) error {
	if name != "" {
		why = strings.TrimSuffix(fmt.Sprintf("handler for %q: %s", name, why), ": ")
	}
	return &PolicyError{Rule: -1, Call: name, Reason: why, Err: err}
}

// asks tells whether the call is asked about, for some arguments at least.
func (p Policy) asks(name string) bool {
	for _, r := range p.Rules {
		switch {
		case !r.on(NativeArch()) || !slices.Contains(r.Names, name):
		case r.Action == Ask:
			return true
		case len(r.Args) == 0:
			return false
		}
	}
	return p.Default == Ask
}
