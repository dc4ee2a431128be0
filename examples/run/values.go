package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox"
	"github.com/belljar-go/belljar/seccomp"
)

// What the library checks by itself is not checked here twice: see wrongFlag.

func setMemory(r *request, v string) error {
	r.memory, _ = sandbox.ParseSize(v) // a size that is none is New's to refuse
	r.limit(sandbox.WithMemory(v))
	return nil
}

func setCPUs(r *request, v string) error {
	n, err := strconv.ParseFloat(v, 64)
	if err != nil {
		return errors.New("is no number of CPUs")
	}
	r.limit(sandbox.WithCPUs(n))
	return nil
}

func setPids(r *request, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil {
		return errors.New("is no number of processes")
	}
	if n != -1 {
		r.limit(sandbox.WithPids(n))
	}
	return nil
}

func duration(option func(time.Duration) sandbox.Option) func(*request, string) error {
	return func(r *request, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil {
			return errors.New("is no time such as 500ms, 2s or 1m30s")
		}
		r.limit(option(d))
		return nil
	}
}

func setUlimit(r *request, v string) error {
	name, values, ok := strings.Cut(v, "=")
	soft, hard, two := strings.Cut(values, ":")
	if !two {
		hard = soft
	}
	s, err1 := rlimit(soft)
	h, err2 := rlimit(hard)
	if !ok || err1 != nil || err2 != nil {
		return errors.New("is not of the form NAME=SOFT or NAME=SOFT:HARD, with numbers or unlimited")
	}
	r.limit(sandbox.WithRlimit(name, s, h))
	return nil
}

func rlimit(v string) (uint64, error) {
	if v == "unlimited" || v == "-1" {
		return sandbox.RlimitInfinity, nil
	}
	return strconv.ParseUint(v, 10, 64)
}

// setVolume reads SRC:DST and SRC:DST:FLAGS. There is no way to write a colon in a path, as in docker.
func setVolume(r *request, v string) error {
	parts := strings.Split(v, ":")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return errors.New("is not of the form SRC:DST or SRC:DST:ro")
	}
	var flags rootfs.Flags
	if len(parts) == 3 {
		for _, word := range strings.Split(parts[2], ",") {
			switch word {
			case "ro":
				flags |= sandbox.ReadOnly
			case "rw":
			case "noexec":
				flags |= sandbox.NoExec
			default:
				return fmt.Errorf("%q is none of ro, rw and noexec", word)
			}
		}
	}
	r.want(sandbox.WithBind(parts[0], parts[1], flags))
	return nil
}

// setTmpfs reads DST, DST:SIZE and docker's DST:size=SIZE.
func setTmpfs(r *request, v string) error {
	dst, size, ok := strings.Cut(v, ":")
	if !ok {
		size = "64m"
	}
	r.want(sandbox.WithTmpfs(dst, strings.TrimPrefix(size, "size=")))
	return nil
}

// setEnv takes the host's value where none is given; a variable that is not set here stays unset, as in docker.
func setEnv(r *request, v string) error {
	name, value, given := strings.Cut(v, "=")
	if name == "" {
		return errors.New("has no name")
	}
	if !given {
		if value, given = os.LookupEnv(name); !given {
			return nil
		}
	}
	r.setEnv(name, value)
	return nil
}

// setUser wants numbers: names would have to be looked up in a root that is not to be trusted.
func setUser(r *request, v string) error {
	uid, gid, two := strings.Cut(v, ":")
	if !two {
		gid = uid
	}
	u, err1 := strconv.Atoi(uid)
	g, err2 := strconv.Atoi(gid)
	if err1 != nil || err2 != nil {
		return errors.New("is not of the form UID or UID:GID, with numbers")
	}
	r.user, r.uid, r.gid = true, u, g
	return nil
}

func setGroup(r *request, v string) error {
	gid, err := strconv.Atoi(v)
	if err != nil {
		return errors.New("is no number of a group")
	}
	r.groups = append(r.groups, gid)
	return nil
}

func setCaps(r *request, v string) error {
	r.caps = append(r.caps, strings.Split(v, ",")...)
	return nil
}

func setHost(r *request, v string) error {
	name, ip, ok := strings.Cut(v, ":")
	if !ok {
		return errors.New("is not of the form NAME:IP")
	}
	if r.hosts == nil {
		r.hosts = map[string]string{}
	}
	r.hosts[name] = ip
	return nil
}

func setSeccomp(r *request, v string) error {
	policy := seccomp.Default()
	switch v {
	case "default":
	case "kill":
		policy = policy.WithDenied(seccomp.KillProcess)
	default:
		f, err := os.Open(v)
		if err != nil {
			return errno(err)
		}
		defer f.Close()
		if policy, err = seccomp.Parse(f); err != nil {
			return err
		}
	}
	r.want(sandbox.WithSeccomp(policy))
	return nil
}

// finish settles what depends on several flags.
func (r *request) finish() error {
	if r.swap == "" {
		return nil
	}
	switch n, err := sandbox.ParseSize(r.swap); {
	case r.swap == "-1":
		r.limit(sandbox.WithSwap("max"))
	case err != nil:
		return fmt.Errorf("--memory-swap: %w", err)
	case r.memory <= 0:
		return fmt.Errorf("--memory-swap %q: needs --memory", r.swap)
	case n != sandbox.NoLimit && n < r.memory:
		return fmt.Errorf("--memory-swap %q: is less than --memory, which it includes", r.swap)
	case n == sandbox.NoLimit:
		r.limit(sandbox.WithSwap("max"))
	default:
		r.limit(sandbox.WithSwap(sandbox.FormatSize(n - r.memory)))
	}
	return nil
}

// errno is an error of the os package without the path, which is said already.
func errno(err error) error {
	var e *os.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
