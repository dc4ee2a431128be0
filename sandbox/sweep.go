package sandbox

import (
	"errors"

	"github.com/belljar-go/belljar/cgroup"
)

// Sweep removes the cgroups that host programs which crashed have left, with whatever is still in them, where their owner is surely gone. It looks where
// this program would make groups by itself, and below the named parents, which mean what they mean to WithCgroupParent. New does the same once per
// process, and for a parent when it is first used. Sweep returns the names of what was removed.
func Sweep(parents ...string) ([]string, error) {
	names, err := cgroup.Sweep()
	all := []error{err}
	for _, p := range parents {
		more, err := cgroup.SweepAt(p)
		names, all = append(names, more...), append(all, err)
	}
	if err := errors.Join(all...); err != nil {
		return names, &Error{Stage: "cgroup", Op: "sweep", Err: err}
	}
	return names, nil
}
