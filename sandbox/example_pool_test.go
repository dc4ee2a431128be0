package sandbox_test

import (
	"context"
	"fmt"
	"log"

	"github.com/belljar-go/belljar/sandbox"
)

// A pool has sandboxes ready, so a request pays for its program and hardly anything else. Each is used once.
func ExampleNewPool() {
	pool, err := sandbox.NewPool(2, sandbox.WithHostname("glass"))
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	for range 3 {
		sb, err := pool.Get(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		out, err := sb.Command("/bin/sh", "-c", "cat /tmp/mark 2>/dev/null; echo used > /tmp/mark; hostname").Output(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(string(out))
		if err := sb.Close(); err != nil { // the pool makes another
			log.Fatal(err)
		}
	}
	// Output:
	// glass
	// glass
	// glass
}
