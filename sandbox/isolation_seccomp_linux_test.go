package sandbox

import (
	"syscall"
	"testing"

	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Package seccomp proves the filter against every number; here it is proved to be on, in every command. The control is the same job, with all
// capabilities and without the filter: there the kernel answers for itself.
func TestFilterIsOn(t *testing.T) {
	t.Parallel()
	with := values(play(t, standing(t, asVictim(t)), "calls"))
	withCaps := values(play(t, standing(t, asVictim(t), WithCredential(0, 0), everyCapability()), "calls"))
	without := values(play(t, standing(t, append(unguarded(), asVictim(t))...), "calls"))
	for name, c := range deniedCalls {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.want, with[name])
			assert.Equal(t, c.want, withCaps[name], "capabilities do not open the filter")
			if c.nr < 9999 && without[name] == c.want {
				t.Logf("not exercised: this kernel answers %s without a filter too", c.want)
			}
		})
	}
	differ := 0
	for name, c := range deniedCalls {
		if without[name] != c.want {
			differ++
		}
	}
	assert.Greater(t, differ, len(deniedCalls)*2/3, "the control shows too little: %v", without)
}

func TestFilterIsAnOption(t *testing.T) {
	t.Parallel()
	sb := standing(t, WithSeccomp(seccomp.Default().With(seccomp.Rule{Names: []string{"uname"}, Action: seccomp.Errno(syscall.ENOTTY)})))
	out, res := try(t, sb, "uname")
	assert.NotEqual(t, 0, res.ExitCode, out)
	assert.Equal(t, "Linux", sh(t, standing(t), "uname"))
}

// TestFilterFlags: what a policy asks of the kernel beside the program is in the call that loads it, and the kernel takes it. A command has one thread
// then, so TSYNC has nothing to do.
func TestFilterFlags(t *testing.T) {
	t.Parallel()
	policy := seccomp.Default()
	policy.Flags = seccomp.FlagLog | seccomp.FlagSpecAllow | seccomp.FlagTSync
	program, err := policy.Compile()
	require.NoError(t, err)
	s, ids, _ := setup(t, rootFacts())
	text := compileCommand(s, ids, rootFacts().lastCap, 0, &walls{filter: program.Bytes(), flags: program.Flags()}, &commandSpec{path: "/bin/true"}).String()
	assert.Regexp(t, `seccomp\(SET_MODE_FILTER, LOG SPEC_ALLOW, `, text)

	sb := standing(t, WithSeccomp(policy))
	assert.Equal(t, "2", sh(t, sb, "while read k v; do case $k in Seccomp:) echo $v;; esac; done </proc/self/status"))
	sb.engine.walls.flags, sb.engine.shape = 1<<30, &shape{setup: sb.engine.shape.setup} // no flag of any kernel: so it is the kernel that reads them
	_, err = sb.Run(inTime(t), "/bin/true")
	require.ErrorIs(t, err, unix.EINVAL)
	require.ErrorContains(t, err, "seccomp")
}

// TestStrictInASandbox: the preset stands before the program is executed, so it has to let that through, and no more.
func TestStrictInASandbox(t *testing.T) {
	t.Parallel()
	needsTool(t, "/usr/bin/python3")
	const script = `
import os, threading
t = threading.Thread(target=lambda: print("thread", flush=True)); t.start(); t.join()
try: os.fork() or os._exit(0); print("forked")
except OSError as e: print("fork", e.errno)
try: open("/tmp/out", "w"); print("made")
except OSError as e: print("open", e.errno)
`
	for _, c := range []struct {
		policy seccomp.Policy
		want   string
	}{
		{seccomp.Default(), "thread\nforked\nmade\n"},
		{seccomp.Strict(), "thread\nfork 1\nopen 1\n"},
	} {
		out, err := standing(t, WithSeccomp(c.policy)).Command("/usr/bin/python3", "-c", script).CombinedOutput(inTime(t))
		require.NoError(t, err, "%s", out)
		assert.Equal(t, c.want, string(out))
	}
}
