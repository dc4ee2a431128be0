package sandbox

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/cgroup"
)

// Each limit has an option of its name, and New knows which of them may be given up.
func TestLimitOptions(t *testing.T) {
	var want []string
	for _, f := range everyLimit().Fields() {
		if f != "OOMGroup" && f != "Hugepages" { // that comes with memory; these are told apart by size
			want = append(want, "With"+f)
		}
	}
	assert.ElementsMatch(t, want, limitOptions)
	for _, o := range limitOptions {
		assert.NotContains(t, withoutOption(everyLimit(), o).Fields(), fieldOf(o))
	}
	l := withoutOption(everyLimit(), "WithHugepages 2097152")
	assert.Equal(t, []cgroup.HugepageLimit{{Size: 1 << 30}}, l.Hugepages)
}

func everyLimit() cgroup.Limits {
	return cgroup.Limits{
		Memory: 1, MemoryHigh: 1, MemoryLow: 1, MemoryMin: 1, Swap: 1, CPUs: 1, CPUWeight: 1, CPUSet: "0", MemoryNodes: "0", Pids: 1,
		IO: []cgroup.IOLimit{{}}, IOWeight: 1, Hugepages: []cgroup.HugepageLimit{{Size: 2 << 20}, {Size: 1 << 30}}, OOMGroup: true,
	}
}

// Only what cannot be had is given up, and nothing that is required goes with it.
func TestLostOptions(t *testing.T) {
	failed := func(op string, fields ...string) error {
		return &Error{Stage: "cgroup", Op: op, Err: &remoteError{errno: 1, limits: fields}}
	}
	given := func(options ...string) *engine {
		e := &engine{spec: &spec{explicit: map[string]bool{}}}
		for _, o := range options {
			e.spec.explicit[o] = true
		}
		return e
	}
	all := []string{"WithMemory", "WithSwap", "WithCPUs", "WithCPUSet", "WithHugepages 2097152"}
	for _, c := range []struct {
		soft  []string
		extra string // given without BestEffort
		err   error
		want  []string
	}{
		{all, "", failed("cpu limit", "CPUs", "CPUWeight"), []string{"WithCPUs"}},
		{all, "", failed("write", "CPUSet"), []string{"WithCPUSet"}},
		{all, "", failed("write", "Hugepages"), []string{"WithHugepages 2097152"}},
		{all, "", failed("write", "Memory"), []string{"WithMemory", "WithSwap"}},
		{all, "", failed("mkdir"), all},
		{all, "", failed("parent"), nil},
		{all, "", failed("cpuset controller", "CPUSet"), []string{"WithCPUSet"}},
		{all, "", failed("write", "Pids"), nil},
		{[]string{"WithMemory"}, "WithSwap", failed("write", "Memory"), nil},
		{nil, "WithCPUs", failed("write", "CPUs"), nil},
		{all, "", &Error{Stage: "root", Op: "mount", Err: &remoteError{limits: []string{"CPUs"}}}, nil},
		{all, "", nil, nil},
	} {
		e := given(append(slices.Clone(c.soft), c.extra)...)
		assert.Equal(t, c.want, e.lostOptions(c.soft, c.err), "%v of %v", c.err, c.soft)
	}
}

// limitsOrSkip skips where an ordinary user has not been handed the controller.
func limitsOrSkip(t *testing.T, opts ...Option) *Sandbox {
	t.Helper()
	sb, err := New(opts...)
	if why := groupless(t); err != nil && why {
		skip(t, "needs cgroup delegation")
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sb.Close()) })
	return sb
}

// groupless reports whether not even a limit of pids can be had.
func groupless(t *testing.T) bool {
	t.Helper()
	sb, err := New(WithPids(100))
	if err == nil {
		require.NoError(t, sb.Close())
	}
	return err != nil
}

func TestWithCPUSet(t *testing.T) {
	t.Parallel()
	const script = "grep -E '^(Cpus|Mems)_allowed_list' /proc/self/status; nproc"
	out, _ := try(t, limitsOrSkip(t, WithCPUSet("0"), WithMemoryNodes("0")), script)
	assert.Equal(t, []string{"Cpus_allowed_list:", "0", "Mems_allowed_list:", "0", "1"}, strings.Fields(out))
	out, _ = try(t, standing(t), script)
	assert.NotEqual(t, "0", strings.Fields(out)[1], "control")

	_, err := New(WithCPUSet("8000"))
	var e *Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "cgroup", e.Stage)
	assert.Contains(t, err.Error(), "8000")
	sb := limitsOrSkip(t, BestEffort(WithCPUSet("8000")), BestEffort(WithPids(20)), WithCPUs(1))
	r := sb.Report()
	require.Len(t, r.GivenUp, 1, "%v", r)
	assert.Equal(t, "WithCPUSet", r.GivenUp[0].Option)
	assert.Contains(t, strings.Join(r.Enforced, "\n"), "pids: 20")
}

// What bounds a device that is not there is refused, naming it; accounts of devices can be asked for.
func TestWithIO(t *testing.T) {
	t.Parallel()
	if groupless(t) {
		skip(t, "needs cgroup delegation")
	}
	_, err := New(WithIO(IOLimit{Device: "/nowhere/disk", ReadBytes: 1 << 20}))
	require.Error(t, err)
	assert.Contains(t, err.Error(), "/nowhere/disk")
	assert.Contains(t, err.Error(), "lsblk")
	sb := standing(t, BestEffort(WithIO(IOLimit{Device: "/nowhere/disk", ReadBytes: 1 << 20})), WithPids(20))
	require.Len(t, sb.Report().GivenUp, 1)
	assert.Equal(t, "WithIO", sb.Report().GivenUp[0].Option)
	sb = standing(t, BestEffort(WithIO()))
	_, res := try(t, sb, "true")
	assert.Equal(t, OK, res.Verdict)
}
