//go:build linux

package launch

import (
	"os"
	"strings"
	"testing"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A process is cloned by the owner that was asked for, with all capabilities, and no thread stays that owner.
func TestOwner(t *testing.T) {
	if !Owns() {
		t.Skip("needs root, with all capabilities over user namespaces")
	}
	defer func() { assert.NoError(t, unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)) }()
	const owner = 1<<30 + 7
	credentials := func() (all []string) {
		tasks, err := os.ReadDir("/proc/self/task")
		require.NoError(t, err)
		for _, task := range tasks {
			b, err := os.ReadFile("/proc/self/task/" + task.Name() + "/status")
			if err != nil {
				continue // it has ended
			}
			own := ""
			for _, l := range strings.Split(string(b), "\n") {
				if strings.HasPrefix(l, "Uid:") || strings.HasPrefix(l, "CapEff:") || strings.HasPrefix(l, "CapPrm:") {
					own += l + "\n"
				}
			}
			all = append(all, own)
		}
		return all
	}
	before := credentials()[0]
	for name, m := range modes {
		t.Run(name, func(t *testing.T) {
			for _, failing := range []bool{false, true} {
				b := builder(m)
				is := b.Call(unix.SYS_GETEUID, "geteuid", "process")
				is.HasWant, is.Want = true, owner
				// Only who has CAP_SYS_ADMIN may, and the name is this process's.
				b.Call(unix.SYS_UNSHARE, "unshare", "process", plan.Int(unix.CLONE_NEWUTS))
				execTrue(b, "/bin/true")
				r := &Request{Plan: b.Plan(), Mode: m, Cgroup: -1, Owner: owner}
				if failing {
					r.Cgroup = 1 << 20 // no descriptor
				}
				p, err := Launch(r)
				for _, own := range credentials() {
					assert.Equal(t, before, own)
				}
				if failing {
					assert.Error(t, err)
					continue
				}
				require.NoError(t, err)
				assert.Equal(t, 0, wait(t, p).ExitStatus())
			}
		})
	}
}
