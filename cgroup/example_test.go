package cgroup_test

import (
	"errors"
	"fmt"

	"github.com/belljar-go/belljar/cgroup"
)

// A plan can be printed for any host, without privileges and before anything
// happens.
func ExampleLimits_Plan() {
	parent := cgroup.Parent{Dirs: []cgroup.Dir{{
		Version:     2,
		Path:        "/sys/fs/cgroup/belljar-1-2",
		Controllers: cgroup.MemoryController | cgroup.PidsController | cgroup.CPUAcctController | cgroup.FreezerController,
		Enabled:     cgroup.MemoryController | cgroup.PidsController,
	}}}
	ops, err := cgroup.Limits{Memory: 50 << 20, Pids: 20}.Plan(parent, "box")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, op := range ops {
		fmt.Println(op)
	}
	_, err = cgroup.Limits{CPUs: 0.5}.Plan(parent, "box")
	fmt.Println(errors.Is(err, cgroup.ErrUnsupported))
	// Output:
	// mkdir /sys/fs/cgroup/belljar-1-2/box
	// open /sys/fs/cgroup/belljar-1-2/box
	// write /sys/fs/cgroup/belljar-1-2/box/pids.max "20"
	// write /sys/fs/cgroup/belljar-1-2/box/memory.max "52428800"
	// write /sys/fs/cgroup/belljar-1-2/box/memory.swap.max "0"
	// write /sys/fs/cgroup/belljar-1-2/box/cgroup.subtree_control "+memory +pids"
	// true
}

func ExampleLimits_Validate() {
	fmt.Println(cgroup.Limits{Pids: -7}.Validate())
	fmt.Println(cgroup.Limits{CPUs: 0.001}.Validate())
	// Output:
	// cgroup: Pids "-7": negative
	// cgroup: CPUs "0.001": less than 0.01, the kernel's least quota
}
