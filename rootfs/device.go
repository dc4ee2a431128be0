package rootfs

import (
	"path"
	"slices"
)

// Device is a device node of the host in a [Dev], beside those that every Dev has. Only a
// privileged caller's can be narrowed by BindReadOnly, and is the job's to open whatever
// the permissions of the host's node are: it is a new node, that only the sandbox has. An
// ordinary user's shows the host's node, with the host's permissions.
//
// No cgroup of devices is involved: nothing in a sandbox can make a node (mknod(2) takes a
// capability over the host), and nodes on all other mounts are dead (nodev).
type Device struct {
	Source string // on the host, absolute
	Target string // in the root, below a Dev
	Flags  Flags  // BindReadOnly and BindOptional
}

// devNames are what a [Dev] has by itself.
var devNames = []string{
	"null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "ptmx", "pts", "shm", "mqueue", "console",
}

// Path returns the target.
func (o Device) Path() string { return o.Target }

func (Device) verb() string { return "device" }
func (Device) covers() bool { return true }

func (o Device) String() string {
	return line("device", quote(o.Source), "on", quote(o.Target), o.Flags.String())
}

// Validate reports a path that is none, a target that is no place for a device or that
// every Dev has a use for, and flags that mean nothing for a device.
func (o Device) Validate() error {
	if why := pathFault(o.Source); why != "" {
		return check(o, "source "+why, o.Source)
	}
	if why := targetFault(o.Target); why != "" {
		return check(o, why, o.Target)
	}
	dir := path.Dir(o.Target)
	switch {
	case o.Flags&^(BindReadOnly|BindOptional) != 0:
		return check(o, "a device takes the flags ro and optional, not "+(o.Flags&^(BindReadOnly|BindOptional)).String(), o.Target)
	case dir == "/":
		return check(o, "a device lies in a directory, such as /dev", o.Target)
	case slices.Contains(devNames, path.Base(o.Target)) && path.Dir(dir) == "/":
		return check(o, "every /dev has its own", o.Target)
	}
	return nil
}

// homeless says why a device cannot be where it is, or "": it is in no Dev, whose mount is the only one where nodes work.
func homeless(before []Op, op Op) string {
	if _, ok := op.(Device); !ok {
		return ""
	}
	in := slices.ContainsFunc(before, func(b Op) bool {
		_, ok := b.(Dev)
		return ok && Within(op.Path(), b.Path())
	})
	if !in {
		return "is in no /dev: it follows a Dev that holds it"
	}
	return ""
}
