package sandbox

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
)

// answering gives up all power and then answers for calls, reading what they point to.
func answering() {
	giveUpPrivileges()
	mkdir := func(at int) func(seccomp.Call) seccomp.Answer {
		return func(c seccomp.Call) seccomp.Answer {
			path, err := c.Path(c.Args[at])
			_, own := os.ReadFile(fmt.Sprintf("/proc/%d/mem", c.TID))
			say("asked", path, err, "by itself:", os.IsPermission(own))
			if path == "/tmp/a" {
				return seccomp.Continue()
			}
			return seccomp.Refuse(syscall.EXDEV)
		}
	}
	open := func(c seccomp.Call) seccomp.Answer {
		if path, err := c.Path(c.Args[1]); err != nil || path != "/granted" {
			return seccomp.Continue()
		}
		r, w, err := os.Pipe()
		check(err)
		_, err = w.WriteString("granted")
		check(err)
		check(w.Close())
		return seccomp.Inject(r)
	}
	for _, opts := range [][]Option{nil, {WithHost(namespace.PID)}} {
		sb, err := New(append(opts, WithSeccomp(seccomp.Default(), seccomp.Notify("mkdir", mkdir(0)), seccomp.Notify("mkdirat", mkdir(1)), seccomp.Notify("openat", open)))...)
		check(err)
		out, err := sb.Command("/bin/sh", "-c", "mkdir /tmp/a && echo made; mkdir /tmp/b 2>&1; ls /tmp; cat /granted").Output(background)
		check(err)
		say("out", strings.Join(strings.Fields(string(out)), " "))
		check(sb.Close())

		sb, err = New(append(opts, killing())...)
		check(err)
		res, err := sb.Run(background, "/bin/sh", "-c", "unshare -U true; echo alive")
		check(err)
		say(res.Verdict, res.Syscall)
		check(sb.Close())
	}
	say("ready")
}

// TestNotifyUnprivilegedHost: the memory of a job is read by the zygote, which kept its rights, and its calls are answered with the rights that the host program has left.
func TestNotifyUnprivilegedHost(t *testing.T) {
	needRoot(t)
	answered(t)
	t.Parallel()
	said := strings.Join(startHost(t, "answering").said, "\n")
	assert.NotContains(t, said, "still has")
	for _, line := range []string{"asked /tmp/a <nil> by itself: true", "asked /tmp/b <nil> by itself: true"} {
		assert.Equal(t, 2, strings.Count(said, line), said)
	}
	assert.Equal(t, 2, strings.Count(said, "out made mkdir: cannot create directory '/tmp/b': Invalid cross-device link a granted\n"), said)
	assert.Equal(t, 2, strings.Count(said, "system call denied unshare(flags=CLONE_NEWUSER"), said)
}
