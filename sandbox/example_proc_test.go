package sandbox_test

import (
	"context"
	"fmt"
	"log"

	"github.com/belljar-go/belljar/sandbox"
)

// Programs that fit themselves to the machine find the sandbox: nproc says 1, free says 512 MiB. It is not run here, since limits need a cgroup.
func ExampleWithProc() {
	sb, err := sandbox.New(sandbox.WithProc(sandbox.ViewSandbox), sandbox.WithMemory("512m"), sandbox.WithCPUs(1))
	if err != nil {
		log.Fatal(err)
	}
	defer sb.Close()
	out, err := sb.Command("/bin/sh", "-c", "nproc; free -m").Output(context.Background())
	fmt.Printf("%s %v\n", out, err)
}

// A build that mounts images by FUSE.
func ExampleWithDevice() {
	_, err := sandbox.Run(context.Background(), []string{"/usr/bin/build-image"},
		sandbox.WithDevice("/dev/fuse", "/dev/fuse"), sandbox.WithDevice("/dev/kvm", "/dev/kvm", sandbox.Optional))
	if err != nil {
		log.Fatal(err)
	}
}
