package sandbox

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A network namespace made ahead of time belongs to the zygote's user namespace: a job's capabilities would be of no use there, so it gets one of its own.
func TestNetworkAhead(t *testing.T) {
	t.Parallel()
	const bind = `perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => 80, Listen => 1) ? "bound" : "refused"'`
	capable := newBox(t, WithCapabilities("NET_BIND_SERVICE"))
	assert.Equal(t, "bound", sh(t, capable, bind))
	plain := newBox(t)
	assert.Equal(t, "refused", sh(t, plain, bind))
	if os.Geteuid() != 0 {
		return
	}
	require.NotContains(t, plain.Plan(), "CLONE_NEWNET")
	require.Contains(t, capable.Plan(), "CLONE_NEWNET")

	// Many at once, more than there are ready: each has a fresh one.
	made := make(chan *Sandbox)
	const n = 8
	for range n {
		go func() { sb, _ := New(); made <- sb }()
	}
	seen := map[string]bool{}
	for range n {
		sb := <-made
		require.NotNil(t, sb)
		ns := sh(t, sb, "readlink /proc/self/ns/net; grep -c : /proc/net/dev")
		assert.False(t, seen[ns])
		assert.True(t, strings.HasSuffix(ns, "\n1"), "the loopback alone: "+ns)
		seen[ns] = true
		t.Cleanup(func() { require.NoError(t, sb.Close()) }) // not before all have been looked at: the number of one that is gone is another's
	}
}
