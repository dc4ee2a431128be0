package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
)

// addOp records an operation on the root. Two at the same path contradict each other
// unless they are equal.
func (s *spec) addOp(o option, op rootfs.Op) error {
	if err := op.Validate(); err != nil {
		return opError(o.label, err)
	}
	target := op.Path()
	if why := reserved(target); why != "" {
		return invalid(o.label, target, why)
	}
	old := s.superseded("at " + target)
	if before, ok := s.files[target]; ok && !old && !reflect.DeepEqual(before, op) {
		return invalid(o.label, target, "is taken already, by "+before.String())
	}
	s.files[target] = op
	return nil
}

// reserved says why nothing can be put at a path, or "". Over /proc it would lie to
// programs and to security modules (CVE-2019-16884, CVE-2025-52881); /dev as a whole is
// made by the library, for a link or a node put there by others has been a way out
// (CVE-2025-31133).
func reserved(target string) string {
	switch {
	case target == "/":
		return "is the root: see WithRootfs"
	case rootfs.Within(target, "/proc"):
		return "is in /proc, which has to be the kernel's"
	case target == "/dev" || rootfs.Within(target, "/dev/pts"):
		return "is part of the /dev that every sandbox has"
	}
	return ""
}

// optionOf names the option that makes an operation.
var optionOf = map[string]string{"base": "WithRootfs", "layer": "WithLayers", "bind": "WithBind", "tmpfs": "WithTmpfs", "file": "WithFile", "device": "WithDevice", "substitute": "WithProc"}

// opError turns the error of a root operation into that of the option, which is found by
// the operation if label is empty.
func opError(label string, err error) error {
	if err == nil {
		return nil
	}
	var e *rootfs.Error
	if errors.As(err, &e) {
		if label == "" {
			label = optionOf[e.Op]
		}
		return invalid(label, e.Path, e.Why)
	}
	return mistaken(label, "", err)
}

func opFault(op rootfs.Op) string {
	var e *rootfs.Error
	if errors.As(op.Validate(), &e) {
		return e.Why
	}
	return ""
}

// sortedOps returns the operations with parents before children, so that the order of the
// options does not matter and none hides another.
func sortedOps(files map[string]rootfs.Op) []rootfs.Op {
	ops := slices.Collect(maps.Values(files))
	slices.SortFunc(ops, func(a, b rootfs.Op) int { return comparePaths(a.Path(), b.Path()) })
	return ops
}

// comparePaths orders by components, so that /a/b comes before /a-b.
func comparePaths(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "/"), strings.Split(b, "/"), cmp.Compare[string])
}

func cloneOps(ops []rootfs.Op) []rootfs.Op {
	ops = slices.Clone(ops)
	for i, op := range ops {
		if f, ok := op.(rootfs.File); ok {
			f.Data = slices.Clone(f.Data)
			ops[i] = f
		}
	}
	return ops
}

// rootOps returns the whole root as an ordered list for the engine: of the default root on
// a host with these facts, or of WithRootfs, which needs no facts; extra are further ones of
// the library's own. It is nil if the mount namespace is the host's.
func (s *spec) rootOps(f rootfs.Facts, extra ...rootfs.Op) ([]rootfs.Op, error) {
	if !s.namespaces.Has(namespace.Mount) {
		return nil, nil
	}
	more := s.withExtra(extra)
	etc := rootfs.Etc{Hostname: s.hostname, UID: s.uid, GID: s.gid, Home: defaultDir, Hosts: s.hosts, ResolvConf: s.resolvConf}
	var ops []rootfs.Op
	if s.hasDefaultRoot() {
		ops = rootfs.Default(f, etc, more...)
	} else {
		more = append(more, s.ownFiles(etc)...)
		ops = rootfs.Stack(s.stack(), more...)
	}
	ops = s.procAs(ops)
	if err := rootfs.Validate(ops); err != nil {
		return nil, opError("", err)
	}
	return ops, nil
}

// withExtra puts what the library adds around the caller's operations: mounts before what may lie in them, and what is done to files of a proc
// last.
func (s *spec) withExtra(extra []rootfs.Op) []rootfs.Op {
	more := cloneOps(s.ops)
	at := 0
	for _, op := range extra {
		if _, late := op.(rootfs.Substitute); late {
			more = append(more, op)
			continue
		}
		for i, other := range more {
			if rootfs.Within(op.Path(), other.Path()) {
				at = max(at, i+1)
			}
		}
		more = slices.Insert(more, at, op)
		at++
	}
	return more
}

// procAs makes the proc of a root the kind that was asked for.
func (s *spec) procAs(ops []rootfs.Op) []rootfs.Op {
	at := slices.IndexFunc(ops, func(op rootfs.Op) bool { _, ok := op.(rootfs.Proc); return ok })
	if at < 0 {
		return ops
	}
	proc := ops[at].(rootfs.Proc)
	proc.Hide, proc.PIDsOnly = s.hidePID, s.pidsOnly
	ops[at] = proc
	if !proc.PIDsOnly {
		return ops
	}
	// What would be masked is not there.
	return slices.DeleteFunc(ops, func(op rootfs.Op) bool {
		return op.Path() != proc.Target && rootfs.Within(op.Path(), proc.Target)
	})
}

// ownFiles are those of /etc that are the sandbox's own over a root of the caller's. A directory for WithRootfs is somebody's whole root: only
// what was asked for goes over it. Layers are of an image that knows neither the sandbox's name nor its network, and what can be
// written to has to stay free of them.
func (s *spec) ownFiles(etc rootfs.Etc) []rootfs.Op {
	all := s.layered() || s.writable()
	var files []rootfs.Op
	for _, f := range []struct {
		option string
		op     rootfs.File
	}{{"WithHosts", etc.HostsFile()}, {"WithHostname", etc.HostnameFile()}, {"WithResolvConf", etc.ResolvConfFile()}} {
		asked := s.explicit[f.option] && f.option != "WithHostname"
		taken := slices.ContainsFunc(s.ops, func(op rootfs.Op) bool {
			return rootfs.Within(f.op.Target, op.Path()) || rootfs.Within(op.Path(), f.op.Target)
		})
		if asked || all && !taken && (f.option != "WithHostname" || s.hostname != "") {
			files = append(files, f.op)
		}
	}
	return files
}

// writable tells whether the job may write to the root: to a layer over it.
func (s *spec) writable() bool { return s.scratch > 0 || s.upper != "" }

// writableOption names the option that says so; "" for none.
func (s *spec) writableOption() string {
	switch {
	case s.upper != "":
		return "WithUpper"
	case s.scratch > 0:
		return "WithScratch"
	}
	return ""
}

// hasDefaultRoot tells whether no option says what the root is.
func (s *spec) hasDefaultRoot() bool { return s.rootfsDir == "" && !s.layered() }

// layered tells whether the root is made of layers, which of an image are not known yet.
func (s *spec) layered() bool { return len(s.layers) > 0 || s.image != nil }

// stack returns the directories of the host that the root is made of, the lowest first.
func (s *spec) stack() []string {
	if s.rootfsDir != "" {
		return []string{s.rootfsDir}
	}
	return s.layers
}

// rootOption names the option that says what the root is.
func (s *spec) rootOption() string {
	switch {
	case s.rootfsDir != "":
		return "WithRootfs"
	case s.image != nil:
		return "WithImage"
	}
	return "WithLayers"
}

// describeRoot says what the root is, for the report.
func (s *spec) describeRoot() string {
	root := "default"
	switch n := len(s.stack()); {
	case s.image != nil:
		root = fmt.Sprintf("image %s of %d layers", quotePath(s.image.path), n)
	case n == 1:
		root = quotePath(s.stack()[0])
	case n > 1:
		root = fmt.Sprintf("%d layers, the lowest %s", n, quotePath(s.stack()[0]))
	}
	switch {
	case s.scratch > 0:
		return root + ", under a layer in memory of " + FormatSize(s.scratch)
	case s.upper != "":
		root += ", under the layer " + quotePath(s.upper) + ", which is kept"
		if s.upperSize > 0 {
			root += ", with room for " + FormatSize(s.upperSize)
		}
		return root
	}
	return root + ", read-only"
}

// workDir returns the working directory of commands that name none.
func (s *spec) workDir() string {
	switch {
	case s.dir != "":
		return s.dir
	case s.hasDefaultRoot() && s.namespaces.Has(namespace.Mount):
		return defaultDir
	}
	return "/"
}
