package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/belljar-go/belljar/seccomp"
)

// oci prepares a runtime that takes a bundle of the OCI runtime specification, with flags of its own.
func oci(name string, flags ...string) func(*lab, string) (*peerRun, error) {
	return func(l *lab, path string) (*peerRun, error) {
		dir := filepath.Join(l.dir, name+strconv.Itoa(len(flags)))
		bundle, state := filepath.Join(dir, "bundle"), filepath.Join(dir, "state")
		for _, d := range []string{bundle, state} {
			if err := os.MkdirAll(d, 0o700); err != nil {
				return nil, err
			}
		}
		limits := !contains(flags, "--cgroup-manager=disabled")
		if err := l.ociConfig(bundle, name, limits); err != nil {
			return nil, err
		}
		global := append([]string{name, "--root", state}, flags...)
		global = global[:len(global):len(global)]
		return &peerRun{
			argv: numbered(func(id string) []string { return append(global, "run", "--bundle", bundle, id) }, bundle),
			failed: func(argv []string) {
				id := argv[len(argv)-1]
				_ = exec.Command(path, append(global[1:], "delete", "--force", id)...).Run()
				groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + id) // it does not know of those that it made first
				for _, dir := range append(groups, "/sys/fs/cgroup/"+id) {
					_ = os.Remove(dir)
				}
			},
		}, nil
	}
}

// numbered gives each container a name, and the bundle the command it is to run, which is written only when it changes.
func numbered(argv func(id string) []string, bundle string) func(...string) ([]string, error) {
	var n atomic.Uint64
	var last atomic.Value
	return func(command ...string) ([]string, error) {
		text := strings.Join(command, "\x00")
		if last.Load() != text {
			if err := setCommand(bundle, command); err != nil {
				return nil, err
			}
			last.Store(text)
		}
		return argv("belljar-bench-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatUint(n.Add(1), 10)), nil
	}
}

func setCommand(bundle string, command []string) error {
	file := filepath.Join(bundle, "config.json")
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c map[string]any
	if err := json.Unmarshal(b, &c); err != nil {
		return err
	}
	c["process"].(map[string]any)["args"] = command
	if b, err = json.Marshal(c); err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}

// ociConfig writes a configuration of the OCI runtime specification.
func (l *lab) ociConfig(bundle, name string, limits bool) error {
	type m = map[string]any
	namespaces := []m{}
	for _, ns := range []string{"pid", "network", "ipc", "uts", "mount", "cgroup"} {
		namespaces = append(namespaces, m{"type": ns})
	}
	linux := m{
		"namespaces":    namespaces,
		"maskedPaths":   []string{"/proc/kcore", "/proc/keys", "/proc/timer_list"},
		"readonlyPaths": []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	}
	memory, pids := 64<<20, 20
	if name == "runsc" { // its kernel is in the same group
		memory, pids = 1<<30, 500
	}
	if limits {
		linux["resources"] = m{"memory": m{"limit": memory}, "pids": m{"limit": pids}}
	}
	// It takes a user namespace by itself, and no filter, for the system calls end in its own kernel.
	if name != "runsc" {
		ids := []m{{"containerID": 0, "hostID": 100000, "size": 65536}}
		linux["namespaces"], linux["uidMappings"], linux["gidMappings"] = append(namespaces, m{"type": "user"}), ids, ids
		text, err := seccomp.Default().MarshalJSON()
		if err != nil {
			return err
		}
		var policy m
		if err := json.Unmarshal(text, &policy); err != nil {
			return err
		}
		linux["seccomp"] = ociFilter(policy)
	}
	none := []string{}
	config := m{
		"ociVersion": "1.0.2",
		"process": m{
			"args": []string{"/true"}, "cwd": "/", "user": m{"uid": 1000, "gid": 1000}, "noNewPrivileges": true,
			"env":          []string{"PATH=/usr/bin:/bin"},
			"capabilities": m{"bounding": none, "effective": none, "inheritable": none, "permitted": none, "ambient": none},
		},
		"root": m{"path": l.root.dir, "readonly": true}, "hostname": "bench",
		"mounts": []m{
			{"destination": "/proc", "type": "proc", "source": "proc"},
			{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755", "size=64k"}},
			{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "nodev", "mode=1777"}},
		},
		"linux": linux,
	}
	b, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bundle, "config.json"), b, 0o600)
}

// ociFilter turns docker's form of a policy into that of the runtime specification, which knows one architecture list and no
// conditions on capabilities or kernels: rules that have such are left out.
func ociFilter(policy map[string]any) map[string]any {
	arch := map[string]string{"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64"}[runtime.GOARCH]
	out := map[string]any{"defaultAction": policy["defaultAction"], "architectures": []string{arch}}
	if n, ok := policy["defaultErrnoRet"]; ok {
		out["defaultErrnoRet"] = n
	}
	var rules []any
	all, _ := policy["syscalls"].([]any)
	for _, r := range all {
		rule, ok := r.(map[string]any)
		if !ok || rule["includes"] != nil && len(rule["includes"].(map[string]any)) > 0 {
			continue
		}
		kept := map[string]any{"names": rule["names"], "action": rule["action"]}
		for _, k := range []string{"args", "errnoRet"} {
			if v := rule[k]; v != nil {
				kept[k] = v
			}
		}
		rules = append(rules, kept)
	}
	out["syscalls"] = rules
	return out
}
