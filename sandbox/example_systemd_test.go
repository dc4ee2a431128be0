package sandbox_test

import (
	"context"
	"log"
	"time"

	"github.com/belljar-go/belljar/cgroup/systemd"
	"github.com/belljar-go/belljar/sandbox"
)

// Limits for an ordinary user's program that was started from a login session: systemd gives it a scope first.
func ExampleWithCgroupParent_systemd() {
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	scope, err := systemd.New(ctx, systemd.Options{})
	if err != nil {
		log.Fatal(err) // it says what to do
	}
	defer scope.Close()

	sb, err := sandbox.New(sandbox.WithCgroupParent(scope.Parent()), sandbox.WithMemory("64m"), sandbox.WithPids(20))
	if err != nil {
		log.Fatal(err, "\n", sandbox.Explain(err))
	}
	defer sb.Close()
}
