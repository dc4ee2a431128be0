package sandbox

import "github.com/belljar-go/belljar/cgroup"

// Sweep removes the cgroups that host programs which crashed have left, with whatever is still in them, where their owner is surely gone. New does it
// by itself, once per process. It returns the names of what was removed.
func Sweep() ([]string, error) {
	names, err := cgroup.Sweep()
	if err != nil {
		return names, &Error{Stage: "cgroup", Op: "sweep", Err: err}
	}
	return names, nil
}
