package seccomp

import (
	"errors"
	"fmt"
	"strconv"
)

var (
	// ErrUnsupported says that policies do not compile for this architecture, or that a profile asks for what a [Policy]
	// cannot hold. It is an [errors.ErrUnsupported].
	ErrUnsupported = fmt.Errorf("seccomp: %w", errors.ErrUnsupported)
	// ErrEmpty says that a policy has no default action or no rule.
	ErrEmpty = errors.New("empty policy")
	// ErrUnknownCall says that a rule names a call Linux has on no architecture.
	ErrUnknownCall = errors.New("unknown system call")
	// ErrConflict says that rules contradict each other.
	ErrConflict = errors.New("contradictory rules")
	// ErrInvalid says that a part of a policy has a value that means nothing.
	ErrInvalid = errors.New("invalid policy")
	// ErrTooLarge says that a policy needs more instructions than the kernel takes, or a rule more comparisons than a
	// jump can skip.
	ErrTooLarge = errors.New("policy too large")
)

// PolicyError is what [Policy.Validate] finds wrong. errors.Is reaches the sentinel in Err.
type PolicyError struct {
	Rule   int    // index in Policy.Rules; -1 where no single rule is at fault
	Call   string // the call's name, as written; may be empty
	Reason string // details; may be empty
	Err    error  // one of ErrEmpty, ErrUnknownCall, ErrConflict, ErrInvalid, ErrTooLarge
}

// Error has the form "seccomp: rule 3, "opne": unknown system call".
func (e *PolicyError) Error() string {
	text := "seccomp: "
	if e.Rule >= 0 {
		text += "rule " + strconv.Itoa(e.Rule)
		if e.Call != "" {
			text += ", " + strconv.Quote(clipped(e.Call))
		}
		text += ": "
	}
	text += e.Err.Error()
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// Unwrap gives Err.
func (e *PolicyError) Unwrap() error { return e.Err }
