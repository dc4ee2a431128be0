package sandbox

import (
	"slices"

	"github.com/belljar-go/belljar/rootfs"
)

// What WithBind can be asked for beside ReadOnly, NoExec and Optional.
const (
	// NoSUID says that setuid and setgid programs and file capabilities on a bind have no
	// effect. It is so for every bind.
	NoSUID = rootfs.BindNoSUID
	// NoDev says that device nodes on a bind are dead. It is so for every bind.
	NoDev = rootfs.BindNoDev
	// Create makes the source of a bind, a directory that belongs to the job, if there is none.
	// Directories that lead to it are made as well, and belong to the caller. What was made for
	// a sandbox that could not be is removed again; what a sandbox had stays.
	Create = rootfs.BindCreate
)

// WithVolume shows a volume at dst: a directory that may be shared with other sandboxes and lives
// on after them. A named volume that does not exist is made, and belongs to the job. It cannot be
// removed until the sandbox is closed. Like a bind it is nosuid and nodev; of the flags it takes
// ReadOnly, NoExec, NoSUID and NoDev.
//
// Files in a volume have owners that do not depend on the sandbox: a job with uid 1000 writes files
// of uid 1000, though the sandbox has a range of the host's ids to itself. Where the host cannot do that, as
// root in a container without CAP_SYS_ADMIN cannot, New says so unless the volume is read-only.
func WithVolume(v rootfs.Volume, dst string, flags ...rootfs.Flags) Option {
	all := rootfs.BindNoSUID | rootfs.BindNoDev
	for _, f := range flags {
		all |= f
	}
	if v.ReadOnly {
		all |= ReadOnly
	}
	o := option{label: "WithVolume", text: v.Name + v.Dir + ":" + dst}
	o.set = func(s *spec, _ bool) error {
		if v.Dir != "" {
			abs, err := hostPath(o, v.Dir)
			if err != nil {
				return err
			}
			v.Dir = abs
		}
		if v.Store != "" {
			abs, err := hostPath(o, v.Store)
			if err != nil {
				return err
			}
			v.Store = abs
		}
		if err := v.Validate(); err != nil {
			return opError(o.label, err)
		}
		if all&(Optional|Create) != 0 {
			return o.fail("neither optional nor create is for a volume: a named one is made, and a directory of the host has to exist")
		}
		if err := s.addOp(o, rootfs.Bind{Source: v.Path(), Target: dst, Flags: all}); err != nil {
			return err
		}
		if !slices.Contains(s.volumes, v) {
			s.volumes = append(slices.Clip(s.volumes), v)
		}
		return nil
	}
	return o
}
