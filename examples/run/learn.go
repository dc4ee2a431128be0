package main

import (
	"context"
	"fmt"
	"os"

	"github.com/belljar-go/belljar/sandbox"
	"github.com/belljar-go/belljar/seccomp"
)

// learnFrom runs the program once, as it would be run otherwise, and writes down what it needs: also when it fails, for the report may say
// why.
func (r *request) learnFrom(signals *relay, term *terminal, stdin, stdout, stderr *os.File) int {
	code := exitRun
	learned, err := seccomp.Learn(context.Background(), sandbox.TrialFunc(func(_ context.Context, sb *sandbox.Sandbox) error {
		r.describe(sb, stdout, stderr)
		var res *sandbox.Result
		if code, res = r.execute(sb, signals, term, stdin, stdout, stderr); res != nil && r.stats {
			printStats(stderr, res)
		}
		return nil
	}, r.sandboxOptions(os.Getenv("TERM"))...))
	if err != nil {
		sayError(stderr, err)
		return exitRun
	}
	text, err := learned.Policy().Marshal()
	if err == nil {
		err = os.WriteFile(r.learn, text, 0o666)
	}
	if err != nil {
		complain(stderr, "--learn: %v", err)
		return exitRun
	}
	fmt.Fprint(stderr, learned.Report())
	return code
}
