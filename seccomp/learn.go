package seccomp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Trial runs what is to be learnt from, once, under the policy and the handlers it is given, and returns when all of it has
// ended. Package sandbox makes trials of commands (sandbox.Trial), so that this package needs nothing of it; others may run a program as
// they like. An error says that the run was of no use.
type Trial func(ctx context.Context, policy Policy, handlers ...Handler) error

// Learn runs each trial and gathers the system calls it makes: see [Learner.Learn], which it is with a Learner of zero.
func Learn(ctx context.Context, trials ...Trial) (*Learned, error) {
	return Learner{}.Learn(ctx, trials...)
}

// Learner says how to learn. Its zero value does it under [Default].
type Learner struct {
	// Base is what the program may do while it is learnt from. Every call is asked about, and one that Base refuses is noted and
	// refused as Base does, not executed: learning from a program is no more dangerous than running it under Base. To learn from one
	// that needs more than Default, give it a policy that lets it have that. No rules stand for Default; where Base kills or asks,
	// the call is refused with EPERM. Programs of sub-architectures cannot be learnt from, whatever Base lets in: their first call ends them.
	Base Policy
	// Exact leaves out of the policy what was not seen. Otherwise it also has the calls that differ from those seen only in what the
	// libc of the day or the timing of a run chooses: read beside readv, openat beside open, futex, what signal handlers
	// need. Nothing is added that Base refuses.
	Exact bool
}

// Learned is what trials have shown.
type Learned struct {
	base  Policy
	exact bool

	mu   sync.Mutex
	runs int
	uses map[useKey]*Use
}

// Use is a kind of call that was seen: a call, with those of its arguments that decide what it is.
type Use struct {
	Call  string // "socket"; "call 999" for a number without a name
	Class string // "AF_INET, SOCK_STREAM"; "" for calls whose arguments do not matter
	Count uint64
	// First is the first of them.
	First Call
	// Answer is what Base said of the first.
	Answer Action

	args []Arg
}

type useKey struct {
	call  string
	class string
}

// Learn runs the trials one after the other. A program under observation is slower, as [Notify] says of each call, and waits for nothing
// else. An error is that of the first trial that failed; what was gathered until then comes with it, for the calls that were refused may
// be why.
func (l Learner) Learn(ctx context.Context, trials ...Trial) (*Learned, error) {
	base := l.Base
	if base.Default == 0 && len(base.Rules) == 0 {
		base = Default()
	}
	learned := &Learned{base: base.Clone(), exact: l.Exact, uses: map[useKey]*Use{}}
	prog, err := base.Compile()
	if err != nil {
		return nil, err
	}
	if len(trials) == 0 {
		return nil, errors.New("seccomp: nothing to learn from")
	}
	all := Policy{Default: Ask, Unknown: Ask, Rules: []Rule{{Names: []string{"exit_group"}, Action: Ask}}}
	for n, trial := range trials {
		watch := Notify(EveryCall, func(c Call) Answer { return learned.see(c, prog.Decide(c)) })
		if err := trial(ctx, all, watch); err != nil {
			return learned, fmt.Errorf("seccomp: trial %d: %w", n+1, err)
		}
		learned.runs++
	}
	return learned, nil
}

// see notes a call and answers it as Base does. Only numbers decide, which the program cannot change any more.
func (l *Learned) see(c Call, action Action) Answer {
	l.note(c.alone(), action)
	if e, ok := action.Errno(); ok {
		if e == 0 {
			return Return(0)
		}
		return Refuse(e)
	}
	switch action {
	case Allow, Log:
		return Continue()
	}
	return Refuse(eperm)
}

func (l *Learned) note(c Call, action Action) {
	name, ok := c.Arch.Name(c.Number)
	if !ok {
		name = fmt.Sprintf("call %d", c.Number)
	}
	class := classify(name, c)
	l.mu.Lock()
	defer l.mu.Unlock()
	key := useKey{name, class.text}
	u := l.uses[key]
	if u == nil {
		u = &Use{Call: name, Class: class.text, First: c, Answer: action, args: class.args}
		l.uses[key] = u
	}
	u.Count++
}

// Merge adds what others have seen. They must have been learnt under the same Base.
func (l *Learned) Merge(others ...*Learned) error {
	for _, o := range others {
		if o.base.key() != l.base.key() {
			return fmt.Errorf("%w: learnt under another base", ErrInvalid)
		}
		o.mu.Lock()
		uses := o.sorted()
		runs := o.runs
		o.mu.Unlock()
		l.mu.Lock()
		l.runs += runs
		for _, u := range uses {
			key := useKey{u.Call, u.Class}
			if have := l.uses[key]; have != nil {
				have.Count += u.Count
			} else {
				l.uses[key] = &u
			}
		}
		l.mu.Unlock()
	}
	return nil
}

// Runs is how many trials have succeeded.
func (l *Learned) Runs() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.runs
}

// Uses lists what was seen, by name and class.
func (l *Learned) Uses() []Use {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sorted()
}

func (l *Learned) sorted() []Use {
	list := make([]Use, 0, len(l.uses))
	for _, u := range l.uses {
		list = append(list, *u)
	}
	slices.SortFunc(list, func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.Call, b.Call), cmp.Compare(a.Class, b.Class))
	})
	return list
}

// Allowed tells whether Base let it through.
func (u Use) Allowed() bool { return u.Answer == Allow || u.Answer == Log }

// String is the call with its class: "socket(AF_INET, SOCK_STREAM)".
func (u Use) String() string {
	if u.Class == "" {
		return u.Call
	}
	return u.Call + "(" + u.Class + ")"
}
