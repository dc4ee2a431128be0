package sandbox_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/belljar-go/belljar/sandbox"
)

// Where the time of a sandbox and of a command in it went. For those who are used to a profiler: the same is in an execution trace of the program (go test -trace, or
// runtime/trace), where each command is a task.
func ExampleResult_Stages() {
	sb, err := sandbox.New()
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Close()
	res, err := sb.Run(context.Background(), "/bin/sleep", "0.1")
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range sb.Report().Stages {
		_ = s // zygote 74µs, compile 397µs, zygote: launch 1.5ms, …
	}
	var slowest sandbox.Stage
	var all time.Duration
	for _, s := range res.Stages() {
		all += s.Duration
		if s.Duration > slowest.Duration {
			slowest = s
		}
	}
	fmt.Println(slowest.Name, all >= slowest.Duration)
	// Output: run true
}
