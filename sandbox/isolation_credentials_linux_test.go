package sandbox

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/belljar-go/belljar/namespace"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func status(t *testing.T, sb *Sandbox) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, l := range strings.Split(sh(t, sb, "cat /proc/self/status"), "\n") {
		k, v, _ := strings.Cut(l, ":")
		m[k] = strings.Join(strings.Fields(v), " ")
	}
	return m
}

var capSets = []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}

const noCaps = "0000000000000000"

func TestCredentials(t *testing.T) {
	t.Parallel()
	s := status(t, standing(t))
	for _, set := range capSets {
		assert.Equal(t, noCaps, s[set], set) // CVE-2022-29162 was one of the five
	}
	assert.Equal(t, "1000 1000 1000 1000", s["Uid"])
	assert.Equal(t, "1000 1000 1000 1000", s["Gid"])
	assert.Equal(t, "1", s["NoNewPrivs"])
	assert.Equal(t, "2", s["Seccomp"])
	if os.Geteuid() == 0 {
		assert.Empty(t, s["Groups"], "supplementary groups of the host program")
	}
	root := status(t, standing(t, WithCredential(0, 0)))
	for _, set := range capSets {
		assert.Equal(t, noCaps, root[set], "root inside has nothing either: "+set)
	}
	// Control: where they are asked for, they are there.
	some := status(t, standing(t, WithCapabilities("net_raw", "CAP_CHOWN")))
	for _, set := range capSets {
		assert.Equal(t, "0000000000002001", some[set], set)
	}
}

func TestCredentialIsChosen(t *testing.T) {
	t.Parallel()
	needRoot(t)
	sb := standing(t, WithCredential(7, 8, 9, 10))
	assert.Equal(t, "7 8 8 9 10", sh(t, sb, "echo $(id -u) $(id -g) $(id -G)"))
	ids := namespace.IDMap{Inside: 0, Outside: 700000, Count: 2000}
	mapped := standing(t, WithIDMap([]namespace.IDMap{ids}, []namespace.IDMap{ids}))
	c := mapped.Command("/bin/sleep", "100")
	require.NoError(t, c.Start(inTime(t)))
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.PID()))
	require.NoError(t, err)
	assert.Contains(t, string(info), "\nUid:\t701000\t701000\t701000\t701000\n")
	require.NoError(t, c.Kill())
	_, err = c.Wait()
	require.NoError(t, err)
	// Ids that no map has are refused, not turned into others.
	for _, id := range []int{65536, 1<<31 - 1} {
		sb, err := New(WithCredential(id, id))
		if err == nil {
			_, err = sb.Run(inTime(t), "/bin/true")
			require.NoError(t, sb.Close())
		}
		assert.Error(t, err, id)
	}
}

// The host's root is not among the ids of any sandbox, and two sandboxes share none.
func TestIDsAreOfOneSandbox(t *testing.T) {
	t.Parallel()
	needRoot(t)
	seen := map[string]bool{}
	for range 3 {
		m := strings.Fields(sh(t, standing(t), "cat /proc/self/uid_map"))
		require.Len(t, m, 3)
		assert.NotEqual(t, "0", m[1])
		assert.False(t, seen[m[1]], "range %s of two sandboxes", m[1])
		seen[m[1]] = true
	}
}

func TestNoNewPrivileges(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	for _, a := range []string{
		"su -c id root </dev/null", "unshare -U true", "unshare -r id", "chown 0 /box/x", "mknod /box/n c 1 3", "perl -e '$< = 0; $> = 0; exit($> != 0)'",
		"setpriv --reuid 0 true",
	} {
		out, res := try(t, sb, ": > /box/x; "+a)
		assert.NotEqual(t, 0, res.ExitCode, a+out)
	}
	out, res := try(t, standing(t, unguarded()...), "perl -e '$> = 1; exit($> != 1)'")
	if res.ExitCode != 0 && os.Geteuid() == 0 {
		t.Errorf("control: root with capabilities changes its uid: %s", out)
	}
}

// Nested user namespaces are off beneath the filter, too.
func TestNoUserNamespaceInside(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "0", sh(t, standing(t), "cat /proc/sys/user/max_user_namespaces"))
	sb := standing(t, append(unguarded(), WithPID())...)
	out, res := try(t, sb, "unshare -U true")
	assert.NotEqual(t, 0, res.ExitCode, out)
	assert.Contains(t, out, "No space left") // ENOSPC is what user.max_user_namespaces answers
	out, res = try(t, sb, "unshare -m true && unshare -u true")
	assert.Equal(t, 0, res.ExitCode, "control: other namespaces can be made: "+out)
}

// Two sandboxes side by side know nothing of each other.
func TestSandboxesDoNotMeet(t *testing.T) {
	t.Parallel()
	a, b := standing(t), standing(t)
	c := a.Command("/bin/sh", "-c", "echo x > /tmp/mark; echo x > /dev/shm/mark; exec sleep 1000")
	require.NoError(t, c.Start(inTime(t)))
	eventually(t, "the mark is made", func() bool { _, res := try(t, a, "test -e /dev/shm/mark"); return res.ExitCode == 0 })
	assert.NotEmpty(t, sh(t, a, "ls /tmp/mark"), "control: beside it, in the same sandbox")
	out, _ := try(t, b, "ls /tmp /dev/shm; ps -eo comm= 2>/dev/null || cat /proc/*/comm")
	assert.NotContains(t, out, "mark")
	assert.NotContains(t, out, "sleep")
	_, _ = try(t, b, "kill -9 -1")
	_, res := try(t, b, fmt.Sprintf("kill -9 %d", c.PID()))
	assert.NotEqual(t, 0, res.ExitCode)
	assert.Equal(t, "alive", sh(t, a, "kill -0 -1 && echo alive"))
	require.NoError(t, c.Kill())
	r, err := c.Wait()
	require.NoError(t, err)
	assert.Equal(t, Killed, r.Verdict)
}
