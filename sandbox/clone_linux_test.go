package sandbox

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func cloneBox(t *testing.T, sb *Sandbox, opts ...Option) *Sandbox {
	t.Helper()
	c, err := sb.Clone(opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// Whatever a command can leave in a sandbox is not in its clone, nor the other way round (case 79).
func TestCloneCarriesNothingOver(t *testing.T) {
	t.Parallel()
	original := grouped(t, standing(t, WithFile("/box/given", []byte("given"), 0o644)))
	if os.Geteuid() == 0 && kernelAtLeast(6, 3) {
		templated(t, WithFile("/box/given", []byte("given"), 0o644)) // from here on clones are begun from a template
	}
	for name, c := range map[string]struct{ leave, look string }{
		"/tmp":       {"echo secret > /tmp/f", "cat /tmp/f"},
		"/box":       {"echo secret > /box/f", "cat /box/f"},
		"given file": {"echo secret > /box/given", "cat /box/given"},
		"/dev/shm":   {"echo secret > /dev/shm/f", "cat /dev/shm/f"},
		"pts":        {`perl -e 'open F, "+<", "/dev/ptmx" or die $!; open G, ">", "/tmp/ready"; sleep 1000' & while ! [ -e /tmp/ready ]; do sleep 0.05; done; rm /tmp/ready`, "[ -e /dev/pts/0 ] && echo secret"},
		"mqueue":     {"touch /dev/mqueue/secret", "ls /dev/mqueue"},
		"SysV shm":   {`perl -e 'use IPC::SysV "IPC_CREAT"; $i = shmget(7777, 64, IPC_CREAT|0666); shmwrite($i, "secret", 0, 6) or die $!'`, `perl -e '$i = shmget(7777, 64, 0); shmread($i, $b, 0, 6); print $b'`},
		"SysV queue": {`perl -e 'use IPC::SysV "IPC_CREAT"; $i = msgget(7777, IPC_CREAT|0666); msgsnd($i, pack("l!a6", 1, "secret"), 0) or die $!'`, `perl -e 'defined msgget(7777, 0) and print "secret"'`},
		"processes":  {"sleep 1000 & until grep -q sleep /proc/$!/comm; do :; done", "cat /proc/[0-9]*/comm | grep -q sleep && echo secret"},
		"abstract":   {`perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Local => "\0secret", Listen => 1) or die $!; open F, ">", "/tmp/ready"; sleep 1000' & while ! [ -e /tmp/ready ]; do sleep 0.05; done; rm /tmp/ready`, "grep -o secret /proc/net/unix"},
		"loopback":   {`perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 7777, Listen => 1) or die $!; open F, ">", "/tmp/ready"; sleep 1000' & while ! [ -e /tmp/ready ]; do sleep 0.05; done; rm /tmp/ready`, `perl -MIO::Socket::INET -e 'print "secret" if IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => 7777)'`},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := original.Command("/bin/bash", "-c", c.leave)
			cmd.KeepLeftovers = true
			res, err := cmd.Run(context.Background())
			require.NoError(t, err)
			require.NoError(t, res.Err())
			look := func(sb *Sandbox) string {
				out, _ := sb.Command("/bin/bash", "-c", c.look+" 2>/dev/null").CombinedOutput(context.Background())
				return strings.TrimSpace(string(out))
			}
			require.Contains(t, look(original), "secret", "control: there it is")
			clone := cloneBox(t, original)
			assert.NotContains(t, look(clone), "secret")
			// And back.
			other := strings.ReplaceAll(strings.ReplaceAll(c.leave, "secret", "answer"), "7777", "8888")
			cmd = clone.Command("/bin/bash", "-c", other)
			cmd.KeepLeftovers = true
			res, err = cmd.Run(context.Background())
			require.NoError(t, err)
			require.NoError(t, res.Err())
			assert.NotContains(t, look(original), "answer")
		})
	}
	assert.Equal(t, "given", strings.TrimSpace(sh(t, cloneBox(t, original), "cat /box/given")))
}

func TestCloneDiffersAsAsked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	original := newBox(t, WithHostname("one"), WithEnv("A=1"), WithFile("/box/f", []byte("one"), 0))
	clone := cloneBox(t, original, WithHostname("two"), WithEnv("A=2"), WithFile("/box/f", []byte("two"), 0), WithBind(dir, "/mnt/d", ReadOnly), WithDir("/tmp"))
	const script = "hostname; echo $A; cat /box/f; echo; test -d /mnt/d && echo bound; pwd"
	assert.Equal(t, "one\n1\none\n/box", sh(t, original, script))
	assert.Equal(t, "two\n2\ntwo\nbound\n/tmp", sh(t, clone, script))
	third := cloneBox(t, clone, WithHostname("three"))
	assert.Equal(t, "three\n2\ntwo\nbound\n/tmp", sh(t, third, script), "a clone of a clone is like the clone")
}

// A clone stands by itself: it outlives the original, and its end is nobody else's.
func TestCloneOutlivesTheOriginal(t *testing.T) {
	t.Parallel()
	original, err := New()
	require.NoError(t, err)
	clone := cloneBox(t, original)
	short := cloneBox(t, original)
	require.NoError(t, short.Close())
	assert.Equal(t, "here", sh(t, original, "echo here"))
	require.NoError(t, original.Close())
	assert.Equal(t, "here", sh(t, clone, "echo here"))
	_, err = original.Clone()
	assert.ErrorIs(t, err, ErrClosed)
	grandchild := cloneBox(t, clone)
	require.NoError(t, clone.Close())
	assert.Equal(t, "here", sh(t, grandchild, "echo here"))
}

// Clones of clones, made and closed side by side, share no ids, cgroups or namespaces.
func TestClonesAreApart(t *testing.T) {
	t.Parallel()
	original := newBox(t)
	script := "for n in user mnt pid net ipc uts; do readlink /proc/self/ns/$n; done"
	if os.Geteuid() == 0 {
		script += "; cat /proc/self/uid_map" // an ordinary user has one range for all
	}
	seen := map[string]bool{}
	for _, sb := range []*Sandbox{original, cloneBox(t, original), cloneBox(t, original)} {
		for _, line := range strings.Split(sh(t, sb, script), "\n") {
			assert.False(t, seen[line], line)
			seen[line] = true
		}
	}
}
