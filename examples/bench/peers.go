package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/belljar-go/belljar/seccomp"
)

// output runs a program and returns what it prints.
func output(path string, args ...string) (string, error) {
	cmd := exec.Command(path, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		said := strings.Join(strings.Fields(stderr.String()), " ")
		return string(out), fmt.Errorf("%s: %w: %.200s", filepath.Base(path), err, said)
	}
	return string(out), nil
}

// peer is another program that runs programs in sandboxes. Its flags ask for what ours have by default: every namespace, the same
// root read-only, a /proc and /tmp of its own, no capabilities, a filter where it takes one.
type peer struct {
	name, program string
	// prepare makes what it needs once, and says how to run a command.
	prepare func(l *lab, path string) (*peerRun, error)
}

type peerRun struct {
	argv   func(command ...string) ([]string, error) // a whole command line
	failed func(argv []string)                       // removes what a run that failed has left; may be nil
	extra  string                                    // a file it gets as descriptor 3
	stop   func() error
}

var peers = []peer{
	{"bwrap", "bwrap", bwrap},
	{"minijail0", "minijail0", minijail},
	{"nsjail", "nsjail", nsjail},
	{"isolate", "isolate", isolate},
	{"firejail", "firejail", firejail},
	{"crun", "crun", oci("crun")},
	{"crun, no cgroups", "crun", oci("crun", "--cgroup-manager=disabled")},
	{"runc", "runc", oci("runc")},
	{"runsc", "runsc", oci("runsc", "--platform=ptrace", "--network=none")},
}

// others are the peers, those that are absent with the reason. names restricts them; none are all.
func (l *lab) others(names []string) []*subject {
	var all []*subject
	for _, p := range peers {
		if len(names) > 0 && !contains(names, p.name) {
			continue
		}
		all = append(all, l.peer(p))
	}
	return all
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

func (l *lab) peer(p peer) *subject {
	s := &subject{name: p.name, peer: true}
	path, err := exec.LookPath(p.program)
	if err != nil {
		s.absent = "not on this machine"
		return s
	}
	r, err := p.prepare(l, path)
	if err != nil {
		s.absent = err.Error()
		return s
	}
	s.stop = r.stop
	s.run = func() error {
		argv, err := r.argv("/true")
		if err != nil {
			return err
		}
		extra, err := r.open()
		if err != nil {
			return err
		}
		err = spawn(path, extra, argv...)
		if extra != nil {
			_ = extra.Close()
		}
		return r.clean(argv, err)
	}
	s.look = func(args ...string) (string, error) {
		argv, err := r.argv(append([]string{"/job"}, args...)...)
		if err != nil {
			return "", err
		}
		cmd := exec.Command(path, argv[1:]...)
		extra, err := r.open()
		if err != nil {
			return "", err
		}
		if extra != nil {
			defer extra.Close()
			cmd.ExtraFiles = []*os.File{extra}
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return "", r.clean(argv, fmt.Errorf("%w: %.200s", err, strings.Join(strings.Fields(stderr.String()), " ")))
		}
		return string(out), nil
	}
	return s
}

func (r *peerRun) clean(argv []string, err error) error {
	if err != nil && r.failed != nil {
		r.failed(argv)
	}
	return err
}

func (r *peerRun) open() (*os.File, error) {
	if r.extra == "" {
		return nil, nil
	}
	return os.Open(r.extra) // it is read to its end, so each run needs one of its own
}

// fixed is a command line that is the same each time.
func fixed(argv ...string) func(...string) ([]string, error) {
	return func(command ...string) ([]string, error) { return append(argv[:len(argv):len(argv)], command...), nil }
}

func bwrap(l *lab, _ string) (*peerRun, error) {
	p, err := seccomp.Default().Compile()
	if err != nil {
		return nil, err
	}
	filter := filepath.Join(l.dir, "bwrap.bpf")
	if err := os.WriteFile(filter, p.Bytes(), 0o600); err != nil {
		return nil, err
	}
	return &peerRun{extra: filter, argv: fixed("bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup",
		"--uid", "1000", "--gid", "1000", "--ro-bind", l.root.dir, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
		"--cap-drop", "ALL", "--new-session", "--die-with-parent", "--clearenv", "--seccomp", "3")}, nil
}

// minijail takes filters in a language of its own: it goes without one.
func minijail(l *lab, _ string) (*peerRun, error) {
	return &peerRun{argv: fixed("minijail0", "-U", "-m0 100000 65536", "-M0 100000 65536", "-v", "-p", "-r", "-l", "-N", "-e", "--uts",
		"-u", "1000", "-g", "1000", "-c", "0", "-n", "-P", l.root.dir, "-t", "--")}, nil
}

func nsjail(l *lab, _ string) (*peerRun, error) {
	return &peerRun{argv: fixed("nsjail", "-Mo", "--really_quiet", "--chroot", l.root.dir, "--user", "1000:100000:1", "--group", "1000:100000:1", "--tmpfsmount", "/tmp",
		"--rlimit_as", "max", "--")}, nil
}

// isolate has boxes that stand; what is measured is a run in one.
func isolate(l *lab, path string) (*peerRun, error) {
	if _, err := output(path, "--init"); err != nil {
		return nil, err
	}
	return &peerRun{
		argv: func(command ...string) ([]string, error) {
			argv := []string{"isolate", "--silent", "--processes", "--no-default-dirs", "--dir=/=" + l.root.dir, "--run", "--"}
			return append(argv, command...), nil
		},
		stop: func() error { _, err := output(path, "--cleanup"); return err },
	}, nil
}

func firejail(l *lab, _ string) (*peerRun, error) {
	return &peerRun{argv: func(command ...string) ([]string, error) {
		// It refuses a root that is not laid out as a system: the host's, read-only, is the nearest.
		argv := []string{"firejail", "--quiet", "--noprofile", "--net=none", "--private-dev", "--read-only=/", "--caps.drop=all", "--nonewprivs", "--seccomp", "--ipc-namespace", "--"}
		return append(append(argv, l.root.dir+command[0]), command[1:]...), nil
	}}, nil
}
