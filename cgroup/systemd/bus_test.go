package systemd

import (
	"bufio"
	"context"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func itoa(n int) string { return strconv.Itoa(n) }

// fakeBus listens where the session's bus is said to be, and does with a connection what it is told.
func fakeBus(t *testing.T, serve func(net.Conn)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+path)
}

// A bus that never answers, at whatever point, costs the caller's time and no more.
func TestBusHangs(t *testing.T) {
	for _, after := range []string{"", "AUTH"} {
		t.Run("after "+after, func(t *testing.T) {
			fakeBus(t, func(c net.Conn) {
				r := bufio.NewReader(c)
				if after != "" {
					_, _ = r.ReadString('\n')
					_, _ = c.Write([]byte("REJECTED EXTERNAL\r\n"))
				}
				for { // until the other side closes
					if _, err := r.ReadByte(); err != nil {
						return
					}
				}
			})
			ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer stop()
			_, err := connect(ctx, User)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.NotErrorIs(t, err, ErrNoBus)
			assert.NotErrorIs(t, err, cgroup.ErrUnsupported, "it may be there another time")
		})
	}
}

// Something that speaks no D-Bus, or refuses this user, is no bus.
func TestBusSpeaksNonsense(t *testing.T) {
	for _, says := range []string{"HTTP/1.1 400 Bad Request\r\n", "REJECTED\r\n", "REJECTED KERBEROS_V4\r\n", "\r\n", strings.Repeat("x", 1<<16) + "\r\n"} {
		fakeBus(t, func(c net.Conn) {
			_, _ = bufio.NewReader(c).ReadString('\n')
			_, _ = c.Write([]byte(says))
		})
		_, err := connect(t.Context(), User)
		require.ErrorIs(t, err, cgroup.ErrUnsupported)
		want := ErrNoBus
		if !booted() {
			want = ErrNoSystemd
		}
		require.ErrorIs(t, err, want)
		var r interface{ Remedy() string }
		require.ErrorAs(t, err, &r)
		assert.NotEmpty(t, r.Remedy())
	}
}

// Without a socket there is no bus; on a machine without systemd that is what is said, rather than what to install.
func TestBusMissing(t *testing.T) {
	missing := "unix:path=" + filepath.Join(t.TempDir(), "none")
	for _, m := range []Manager{System, User} {
		t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", missing)
		t.Setenv("DBUS_SESSION_BUS_ADDRESS", missing)
		_, err := connect(t.Context(), m)
		require.ErrorIs(t, err, cgroup.ErrUnsupported)
		if booted() {
			require.ErrorIs(t, err, ErrNoBus)
			assert.Contains(t, err.Error(), missing)
			assert.Contains(t, err.Error(), "install dbus")
		} else {
			require.ErrorIs(t, err, ErrNoSystemd)
			assert.Contains(t, err.Error(), "/run/systemd/system")
		}
	}
}
