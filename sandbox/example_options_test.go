package sandbox_test

import (
	"context"
	"fmt"
	"log"

	"github.com/belljar-go/belljar/sandbox"
)

func ExampleParseSize() {
	for _, text := range []string{"512k", "50m", "1.5g", "max", "1.5.5m"} {
		n, err := sandbox.ParseSize(text)
		fmt.Println(n, err)
	}
	// Output:
	// 524288 <nil>
	// 52428800 <nil>
	// 1610612736 <nil>
	// -1 <nil>
	// 0 size "1.5.5m" is no size such as 512k, 50m or 1.5g
}

func ExampleFormatSize() {
	fmt.Println(sandbox.FormatSize(52428800), sandbox.FormatSize(1536<<20), sandbox.FormatSize(1000), sandbox.FormatSize(sandbox.NoLimit))
	// Output: 50m 1536m 1000 max
}

func ExampleResult_Err() {
	r := &sandbox.Result{Verdict: sandbox.NonZeroExit, ExitCode: 2}
	fmt.Println(r.Err())
	r = &sandbox.Result{Verdict: sandbox.MemoryExceeded, ExitCode: -1, Signal: 9}
	fmt.Println(r.Err())
	// Output:
	// exit status 2
	// memory exceeded
}

// A root in two layers, with a layer in memory over them that takes what the job writes and goes with the sandbox.
func ExampleWithScratch() {
	res, err := sandbox.Run(context.Background(), []string{"/bin/build"},
		sandbox.WithLayers("/srv/debian", "/srv/toolchain"), sandbox.WithScratch("512m"), sandbox.WithMemory("1g"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Verdict)
}
