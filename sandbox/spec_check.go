package sandbox

import (
	"errors"
	"fmt"
	"slices"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
)

// check finds what each option allows but not all together.
func (s *spec) check() error {
	for _, f := range []func() error{s.checkHost, s.checkIDs, s.checkLimits, s.checkRoot} {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// together is the error of two options that do not go together.
func together(a, b, why string) error { return invalid(a, "", "does not go with "+b+": "+why) }

// asks names the option that asks for a namespace of one's own.
var asks = map[namespace.Kind]string{
	namespace.User: "WithUser", namespace.PID: "WithPID", namespace.Mount: "WithMount", namespace.UTS: "WithUTS",
	namespace.IPC: "WithIPC", namespace.Net: "WithNet", namespace.Cgroup: "WithCgroupNS", namespace.Time: "WithTime",
}

// checkHost finds what contradicts WithHost.
func (s *spec) checkHost() error {
	for _, k := range s.host.Kinds() {
		host := "WithHost(" + k.String() + ")"
		if s.asked.Has(k) || k == namespace.Time && s.offsets != nil {
			return together(host, asks[k], "the namespace is either the host's or its own")
		}
		for _, option := range needs[k] {
			if s.explicit[option] {
				return together(host, option, "it would change the host's")
			}
		}
	}
	if s.host.Has(namespace.User) && !s.explicit["WithCredential"] {
		return together("WithHost(user)", "the default credential", "ids are the host's then, and WithCredential has to say which")
	}
	return nil
}

// needs are the options that need a namespace of one's own.
var needs = map[namespace.Kind][]string{
	namespace.User:  {"WithIDMap"},
	namespace.PID:   {"WithHidePID", "WithProcPIDs"},
	namespace.UTS:   {"WithHostname"},
	namespace.Mount: {"WithLandlock", "WithRootfs", "WithLayers", "WithImage", "WithScratch", "WithUpper", "WithBind", "WithVolume", "WithTmpfs", "WithFile", "WithHosts", "WithResolvConf", "WithDevice", "WithProc", "WithChroot", "WithHidePID", "WithProcPIDs"},
}

// checkIDs finds ids of the job that the caller's map leaves out.
func (s *spec) checkIDs() error {
	if s.uidMap == nil {
		return nil
	}
	if _, ok := namespace.IDMaps(s.uidMap).MapToHost(s.uid); !ok {
		return together("WithIDMap", "WithCredential", fmt.Sprintf("it does not map user %d", s.uid))
	}
	for _, gid := range append([]uint32{s.gid}, s.groups...) {
		if _, ok := namespace.IDMaps(s.gidMap).MapToHost(gid); !ok {
			return together("WithIDMap", "WithCredential", fmt.Sprintf("it does not map group %d", gid))
		}
	}
	return nil
}

func (s *spec) checkLimits() error {
	l := s.limits
	switch {
	case s.explicit["WithSwap"] && !s.explicit["WithMemory"]:
		return invalid("WithSwap", "", "needs WithMemory: there is nothing to swap for without a limit of memory")
	case l.Memory > 0 && l.MemoryHigh > l.Memory:
		return together("WithMemoryHigh", "WithMemory", FormatSize(l.MemoryHigh)+" is never reached under a limit of "+FormatSize(l.Memory))
	}
	if err := l.Validate(); err != nil {
		return limitsError(err)
	}
	nproc := func(r Rlimit) bool { return r.Resource == rlimitNumbers["nproc"] }
	if slices.ContainsFunc(s.rlimits, nproc) && l.Pids == 0 {
		return invalid("WithRlimit", "nproc", "needs WithPids: it counts the processes of a user, not those of a sandbox")
	}
	return nil
}

// limitsError turns the error of package cgroup into that of the option, whose name is that
// of the field.
func limitsError(err error) error {
	var e *cgroup.InvalidError
	if errors.As(err, &e) {
		return invalid("With"+e.Field, e.Value, e.Reason)
	}
	return mistaken("limits", "", err)
}

// Capabilities by number (capabilities(7)).
const (
	capSysChroot uintptr = 18
	capSysAdmin  uintptr = 21
)

// checkRoot finds operations that do not go together, such as a file below a file.
func (s *spec) checkRoot() error {
	for _, pair := range [][2]string{{"WithLayers", "WithRootfs"}, {"WithImage", "WithRootfs"}, {"WithImage", "WithLayers"}} {
		if s.explicit[pair[0]] && s.explicit[pair[1]] {
			return together(pair[0], pair[1], "either says what the root is")
		}
	}
	for _, c := range []struct{ option, path string }{{"WithHosts", "/etc/hosts"}, {"WithResolvConf", "/etc/resolv.conf"}} {
		for _, op := range s.ops {
			if s.explicit[c.option] && rootfs.Within(c.path, op.Path()) {
				return together(c.option, op.String(), "that takes the place of "+c.path)
			}
		}
	}
	switch {
	case s.chroot && (slices.Contains(s.caps, capSysAdmin) || slices.Contains(s.caps, capSysChroot)):
		return together("WithChroot", "CAP_SYS_ADMIN and CAP_SYS_CHROOT", "with these a job gets beneath a root that was not pivoted to")
	case s.pidsOnly && s.view != ViewHost:
		return together("WithProcPIDs", "WithProc", "there are no files left to tell of a machine")
	case s.view == ViewLXCFS && !s.namespaces.Has(namespace.PID):
		return together("WithProc(lxcfs)", "WithHost(pid)", "lxcfs tells of the PID namespace's first process")
	}
	if s.scratch > 0 && s.upper != "" {
		return together("WithUpper", "WithScratch", "what the job writes is either kept or not")
	}
	if option := s.writableOption(); option != "" && s.hasDefaultRoot() {
		return invalid(option, "", "needs WithRootfs, WithLayers or WithImage: the default root shows the host's own folders, and has /tmp and /box to write to")
	}
	for _, v := range s.volumes {
		if v.Size > 0 && s.host.Has(namespace.User) {
			return together("WithVolume", "WithHost(user)", "the job could move its files out of the volume's quota")
		}
	}
	if s.upperSize > 0 && s.host.Has(namespace.User) {
		return together("WithUpper", "WithHost(user)", "the job could move its files out of the layer's quota")
	}
	if s.upper != "" {
		if err := rootfs.ValidUpper(s.upper, s.stack()); err != nil {
			return opError("WithUpper", err)
		}
	}
	return opError("", rootfs.Check(s.partOps()))
}
