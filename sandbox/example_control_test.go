package sandbox_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/belljar-go/belljar/sandbox"
)

// Limits, with notice when memory runs out: whoever reads it late still gets it.
func ExampleSandbox_Events() {
	sb, err := sandbox.New(sandbox.WithMemory("64m"), sandbox.WithPids(20))
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	events := sb.Events(ctx)
	go func() {
		for ev := range events {
			switch ev.Kind {
			case sandbox.OOMKill:
				fmt.Fprintf(os.Stderr, "command %d: out of memory, %d killed\n", ev.PID, ev.Count)
			case sandbox.PidsLimitHit:
				fmt.Fprintf(os.Stderr, "command %d: %d forks refused\n", ev.PID, ev.Count)
			}
		}
	}()
	res, err := sb.Run(ctx, "/bin/sh", "-c", "head -c 100m /dev/zero | tail")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Verdict)
}

// Priority: of two sandboxes that want all of a CPU, one gets four times as much.
func ExampleWithCPUWeight() {
	for _, weight := range []int{400, 100} {
		sb, err := sandbox.New(sandbox.WithCPUWeight(weight), sandbox.WithCPUSet("0"))
		if err != nil {
			log.Fatal(err)
		}
		defer sb.Close()
		spin := sb.Command("/bin/sh", "-c", "while :; do :; done")
		if err := spin.Start(context.Background()); err != nil {
			log.Fatal(err)
		}
	}
	time.Sleep(time.Second)
}

// Accounting: what commands are billed adds up to what the sandbox has used.
func ExampleSandbox_Stats() {
	sb, err := sandbox.New(sandbox.WithMemory("64m"), sandbox.WithIO())
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Close()
	var billed time.Duration
	for range 3 {
		res, err := sb.Run(context.Background(), "/usr/bin/gzip", "--version")
		if err != nil {
			log.Fatal(err)
		}
		billed += res.Usage.CPU.Total
		fmt.Println(res.Usage.CPU.Total, res.Usage.PeakMemory, res.Usage.IO)
	}
	s, err := sb.Stats()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(billed, "of", s.CPU.Total)
}

// Control: everything stands still and goes on again, and is killed at last.
func ExampleSandbox_Pause() {
	sb, err := sandbox.New(sandbox.WithPids(100))
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Close()
	job := sb.Command("/usr/bin/make", "-j8")
	if err := job.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	for _, step := range []func() error{sb.Pause, sb.Resume, job.Kill} {
		if err := step(); err != nil {
			log.Fatal(err)
		}
	}
	res, err := job.Wait()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Verdict)
}

// Limits of a sandbox that stands change for the commands that run in it, too.
func ExampleSandbox_Update() {
	sb, err := sandbox.New(sandbox.WithMemory("64m"), sandbox.WithCPUs(1))
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Close()
	if err := sb.Update(sandbox.WithMemory("256m"), sandbox.WithCPUs(2)); err != nil {
		log.Fatal(err) // nothing has changed
	}
	fmt.Println(sb.Report())
}
