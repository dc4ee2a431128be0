package sandbox

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/belljar-go/belljar/cgroup/systemd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func init() {
	parts["scoped"] = func(args []string) {
		if err := playScoped(args[0] == "late"); err != nil {
			fmt.Printf("error=%v\nexplain=%s\n", err, Explain(err))
		}
		stopZygote()
	}
}

// playScoped is a host program that gets its groups from systemd. If it does so late, it has had a zygote and a sandbox before.
func playScoped(late bool) error {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	if late {
		sb, err := New()
		if err != nil {
			return err
		}
		defer sb.Close()
	}
	scope, err := systemd.New(ctx, systemd.Options{})
	if err != nil {
		return err
	}
	sb, err := New(WithCgroupParent(scope.Parent()), WithMemory("64m"), WithPids(3))
	if err != nil {
		return err
	}
	res, err := sb.Command("/bin/sh", "-c", "i=0; while [ $i -lt 6 ]; do sleep 100 & i=$((i+1)); done").Run(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("verdict=%v\npeak=%d\nunit=%s\n", res.Verdict, res.Usage.PeakMemory, scope.Unit())
	if err := scope.Close(); err == nil {
		return fmt.Errorf("%s closed under a sandbox", scope.Unit())
	}
	if err := sb.Close(); err != nil {
		return err
	}
	return scope.Close()
}

// Sandboxes below a scope of systemd's, for a program that asks for it first, and for one that has sandboxes already.
func TestSystemdScope(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		t.Skip("needs a machine booted with systemd") // for the list of skips to judge
	}
	for _, when := range []string{"first", "late"} {
		t.Run(when, func(t *testing.T) {
			exe, err := os.Executable()
			require.NoError(t, err)
			cmd := exec.CommandContext(inTime(t), exe)
			cmd.Env = append(os.Environ(), partEnv+"=scoped "+when)
			b, err := cmd.CombinedOutput()
			require.NoError(t, err, string(b))
			out := values(string(b))
			require.Empty(t, out["error"], string(b))
			assert.Equal(t, PidsExceeded.String(), out["verdict"])
			assert.NotEmpty(t, strings.Trim(out["peak"], "0"))
		})
	}
}
