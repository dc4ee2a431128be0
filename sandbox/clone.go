package sandbox

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/belljar-go/belljar/rootfs"
)

// Clone makes a sandbox like this one as it was asked for, not as it has become: with processes, scratch, network, ids and cgroup of its own, and
// nothing of what commands have done in this one. No data passes between the two but through what the caller binds into both. Either
// may be closed first. From the second Clone without options on, another one is made ahead of time, when the last has ended or a moment after it was handed out, and the next such Clone
// returns it, unless what it has of the host is no longer what is there: its Report says so. It is kept for half a minute, and ends with sb. As root a clone is begun from a template of the root, which is made at the first Clone, and its Report says that too.
//
// A sandbox that has ended can be cloned no more: the error is then ErrClosed.
//
// Options say how the clone differs; each takes the place of the value that the original has. What may differ are limits (those of cgroups,
// WithCPUTime, WithWallTime, WithOutput, WithRlimit), what is put into the root (WithBind, WithTmpfs, WithFile, WithHosts, WithResolvConf),
// and WithEnv, WithDir, WithHostname and WithName. Any other option is an ErrInvalid which names it: a sandbox with other
// walls or another root is a New.
func (sb *Sandbox) Clone(opts ...Option) (*Sandbox, error) {
	defer region(context.Background(), "sandbox.Clone").End()
	asked := time.Now()
	if _, err := sb.standing("clone"); err != nil {
		return nil, err
	}
	s := sb.asked()
	if len(opts) > 0 {
		var err error
		if s, err = s.vary(opts); err != nil {
			return nil, err
		}
		return openSandbox(s)
	}
	c := sb.ahead.take(s)
	if c != nil {
		c.handedOut("clone", asked)
	} else {
		var err error
		if c, err = openSandbox(s); err != nil {
			return nil, err
		}
	}
	sb.ahead.follow(sb, c)
	return c, nil
}

// cloneOptions are the options that a clone may be given.
var cloneOptions = append([]string{
	"WithRlimit",
	"WithBind", "WithTmpfs", "WithFile", "WithHosts", "WithResolvConf",
	"WithEnv", "WithDir", "WithHostname", "WithName",
}, updateOptions...)

// vary returns the spec with options that take the place of those it was made from.
func (s *spec) vary(opts []Option) (*spec, error) {
	c := s.clone()
	c.fresh = map[string]bool{}
	for _, o := range opts {
		if o == nil {
			return nil, invalid("Option", "", "nil option")
		}
		inner := o
		for b, ok := inner.(bestEffort); ok; b, ok = inner.(bestEffort) {
			inner = b.of
		}
		if of, ok := inner.(option); ok && !slices.Contains(cloneOptions, of.label) {
			return nil, invalid(of.label, of.text, "cannot differ in a clone: make another sandbox with New")
		}
		if err := o.apply(c); err != nil {
			return nil, err
		}
	}
	for key := range c.strict {
		delete(c.bestEffort, key)
	}
	c.fresh = nil
	c.settle()
	c.volumes = slices.DeleteFunc(c.volumes, func(v rootfs.Volume) bool { return !binds(c.ops, v.Path()) })
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// superseded tells whether a value of that key is the original's, which the first option for it in a clone takes the place of.
func (s *spec) superseded(key string) bool {
	if s.fresh == nil || s.fresh[key] {
		return false
	}
	s.fresh[key] = true
	delete(s.strict, key)
	delete(s.bestEffort, key)
	return true
}

func binds(ops []rootfs.Op, source string) bool {
	return slices.ContainsFunc(ops, func(op rootfs.Op) bool {
		b, ok := op.(rootfs.Bind)
		return ok && b.Source == source
	})
}

// dropEnv removes a variable.
func (s *spec) dropEnv(name string) {
	s.env = slices.DeleteFunc(s.env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
}
