package sandbox

import (
	"context"
	"slices"

	"github.com/belljar-go/belljar/seccomp"
)

// Trial is a run of a command from which [seccomp.Learn] learns what system calls it needs. Each time it runs argv in a sandbox of its own
// with the options, among which WithSeccomp must not be: the filter is the learner's. argv[0] is looked up inside. Output is discarded. A command that does
// not end with the verdict OK is an error, an [*ExitError].
//
// The program runs as in any other sandbox, and no call is made that the learner's base does not allow.
func Trial(argv []string, opts ...Option) seccomp.Trial {
	argv = slices.Clone(argv)
	return TrialFunc(func(ctx context.Context, sb *Sandbox) error {
		if len(argv) == 0 {
			return invalid("Trial", "", "has no command")
		}
		res, err := sb.Run(ctx, argv[0], argv[1:]...)
		if err == nil {
			err = res.Err()
		}
		return err
	}, opts...)
}

// TrialFunc is [Trial] for more than one command: a test suite, a server with its clients. The function is given a sandbox, which is closed after it, and says whether
// what it ran was of use.
func TrialFunc(run func(context.Context, *Sandbox) error, opts ...Option) seccomp.Trial {
	opts = slices.Clone(opts)
	return func(ctx context.Context, policy seccomp.Policy, handlers ...seccomp.Handler) error {
		sb, err := New(append(slices.Clone(opts), WithSeccomp(policy, handlers...))...)
		if err != nil {
			return err
		}
		err = run(ctx, sb)
		if cerr := sb.Close(); err == nil {
			err = cerr
		}
		return err
	}
}
