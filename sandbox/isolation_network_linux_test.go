package sandbox

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/belljar-go/belljar/namespace"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What the host listens on, by number or abstract name (CVE-2020-15257), is out of reach.
func TestHostNetworkIsOutOfReach(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer tcp.Close()
	abstract := fmt.Sprintf("@belljar-test-%d", os.Getpid())
	socket, err := net.Listen("unix", abstract)
	require.NoError(t, err)
	defer socket.Close()
	path, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer path.Close()
	targets := []string{fmt.Sprintf("tcp:%d", tcp.Addr().(*net.TCPAddr).Port), abstract, path.Addr().String()}
	want := []string{"ECONNREFUSED", "ECONNREFUSED", "ENOENT"}
	inside := values(play(t, standing(t, asVictim(t)), "connect", targets...))
	for i, target := range targets {
		assert.Equal(t, want[i], inside[target])
		assert.Equal(t, "ok", values(outside(t, "connect", target))[target], "control")
	}
	shared := values(play(t, standing(t, asVictim(t), WithHost(namespace.Net), WithoutLandlock()), "connect", targets...))
	assert.Equal(t, "ok", shared[targets[0]], "control: with the host's network it is there")
	assert.Equal(t, "ok", shared[targets[1]])
	assert.Equal(t, "ENOENT", shared[targets[2]], "but the root is not the host's")
}

func TestNetworkIsALoopback(t *testing.T) {
	t.Parallel()
	sb := standing(t, asVictim(t))
	assert.Equal(t, "lo", sh(t, sb, "awk -F: 'NR>2 {print $1}' /proc/net/dev | tr -d ' '"))
	assert.Empty(t, sh(t, sb, "tail -n +2 /proc/net/route"))
	raw := values(play(t, sb, "raw"))
	assert.Equal(t, map[string]string{"raw": "EPERM", "packet": "EPERM", "netlink": "EPERM", "vsock": "EPERM", "inet": "ok"}, raw)
	open := values(play(t, standing(t, append(unguarded(), asVictim(t))...), "raw"))
	for _, kind := range []string{"raw", "packet", "netlink"} {
		assert.Equal(t, "ok", open[kind], "control: with capabilities and no filter")
	}
	// The loopback is up.
	assert.Equal(t, "up", sh(t, sb, `perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die $!;
IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $s->sockport) or die $!; print "up"'`))
}

// System V objects and message queues of the host are in another namespace.
func TestHostIPCIsOutOfReach(t *testing.T) {
	t.Parallel()
	key := uintptr(0x42454c00 | os.Getpid()&0xff)
	shm, _, e := unix.RawSyscall(unix.SYS_SHMGET, key, 4096, unix.IPC_CREAT|0o666)
	require.Zero(t, e)
	defer unix.RawSyscall(unix.SYS_SHMCTL, shm, unix.IPC_RMID, 0)
	msg, _, e := unix.RawSyscall(unix.SYS_MSGGET, key, unix.IPC_CREAT|0o666, 0)
	require.Zero(t, e)
	defer unix.RawSyscall(unix.SYS_MSGCTL, msg, unix.IPC_RMID, 0)
	name := fmt.Sprintf("belljar-test-%d", os.Getpid())
	mq, err := mqueue(unix.SYS_MQ_OPEN, name, unix.O_CREAT|unix.O_RDWR, 0o666)
	require.NoError(t, err)
	defer func() {
		_, err := mqueue(unix.SYS_MQ_UNLINK, name, 0, 0)
		require.NoError(t, err)
		require.NoError(t, unix.Close(mq))
	}()
	args := []string{fmt.Sprint(key), name}
	want := map[string]string{"shm": "ENOENT", "msg": "ENOENT", "mq": "ENOENT"}
	assert.Equal(t, want, values(play(t, standing(t, asVictim(t)), "ipc", args...)))
	all := map[string]string{"shm": "ok", "msg": "ok", "mq": "ok"}
	assert.Equal(t, all, values(outside(t, "ipc", args...)), "control")
	assert.Equal(t, all, values(play(t, standing(t, asVictim(t), WithHost(namespace.IPC)), "ipc", args...)), "control: with the host's IPC")
}

func TestHostShmIsOutOfReach(t *testing.T) {
	t.Parallel()
	f, err := os.CreateTemp("/dev/shm", "belljar-test")
	if err != nil {
		notExercised(t, "the host has no /dev/shm: %v", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	sb := standing(t)
	assert.NotContains(t, sh(t, sb, "ls -a /dev/shm"), filepath.Base(f.Name()))
	sh(t, sb, "echo > /dev/shm/inside-only")
	_, err = os.Stat("/dev/shm/inside-only")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// Names and clocks of the host stay as they are.
func TestHostNameAndClock(t *testing.T) {
	t.Parallel()
	before, err := os.Hostname()
	require.NoError(t, err)
	sb := standing(t, unguarded()...)
	assert.Equal(t, "other", sh(t, sb, "hostname other; hostname"), "control: it is its own")
	after, err := os.Hostname()
	require.NoError(t, err)
	assert.Equal(t, before, after)
	out, res := try(t, sb, "date -s '2001-01-01'")
	assert.NotEqual(t, 0, res.ExitCode, out)
	_, res = try(t, standing(t), "hostname other")
	assert.NotEqual(t, 0, res.ExitCode)
}
