package systemd_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/cgroup/systemd"
)

// A program makes groups with limits below a scope of its own.
func ExampleNew() {
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Second)
	defer stop()
	scope, err := systemd.New(ctx, systemd.Options{})
	if errors.Is(err, cgroup.ErrUnsupported) {
		log.Fatal(err) // it says what to do
	}
	if err != nil {
		log.Fatal(err)
	}
	defer scope.Close()

	host, err := cgroup.Detect()
	if err != nil {
		log.Fatal(err)
	}
	parent, err := host.ParentAt(scope.Parent(), cgroup.MemoryController)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(parent.Controllers().Has(cgroup.MemoryController))
}
