package sandbox

import (
	"testing"
	"time"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func specOf(t *testing.T, opts ...Option) *spec {
	t.Helper()
	s, err := newSpec(opts)
	require.NoError(t, err)
	return s
}

// A value given to a clone takes the place of the original's; the original keeps its own.
func TestCloneOptionsReplace(t *testing.T) {
	original := specOf(t,
		WithMemory("64m"), WithPids(10), WithHostname("first"), WithDir("/tmp"), WithName("a"), WithEnv("A=1", "B=2"), WithWallTime(time.Second),
		WithFile("/box/f", []byte("old"), 0), WithTmpfs("/data", "1m"), WithHosts(map[string]string{"h": "10.0.0.1", "i": "10.0.0.2"}), WithRlimit("nofile", 10, 10),
		BestEffort(WithCPUs(1)))
	c, err := original.vary([]Option{
		WithMemory("32m"), WithHostname("second"), WithDir("/box"), WithName("b"), WithEnv("B=3", "C=4", "PATH=/bin"), WithWallTime(time.Minute),
		WithFile("/box/f", []byte("new"), 0o600), WithBind("/usr", "/data", ReadOnly), WithHosts(map[string]string{"i": "10.0.0.3", "j": "10.0.0.4"}),
		WithRlimit("nofile", 20, 20), WithCPUs(2),
	})
	require.NoError(t, err)
	assert.EqualValues(t, 32<<20, c.limits.Memory)
	assert.Equal(t, 10, c.limits.Pids, "what was not given stays")
	assert.Equal(t, []any{"second", "/box", "b", time.Minute}, []any{c.hostname, c.dir, c.name, c.run.WallTime})
	assert.Equal(t, []string{"A=1", "B=3", "C=4", "PATH=/bin"}, c.env)
	assert.Equal(t, []byte("new"), c.files["/box/f"].(rootfs.File).Data)
	assert.Equal(t, rootfs.Bind{Source: "/usr", Target: "/data", Flags: ReadOnly}, c.files["/data"])
	assert.Equal(t, map[string]string{"h": "10.0.0.1", "i": "10.0.0.3", "j": "10.0.0.4"}, c.hosts)
	assert.Contains(t, c.rlimits, Rlimit{rlimitNumbers["nofile"], 20, 20})
	assert.True(t, original.mayGiveUp("WithCPUs"))
	assert.False(t, c.mayGiveUp("WithCPUs"), "the clone's option is a requirement")

	assert.EqualValues(t, 64<<20, original.limits.Memory)
	assert.Equal(t, []string{"A=1", "B=2", defaultPath}, original.env)
	assert.Equal(t, []byte("old"), original.files["/box/f"].(rootfs.File).Data)
	assert.Equal(t, "10.0.0.2", original.hosts["i"])
}

func TestCloneOptionsContradictEachOther(t *testing.T) {
	original := specOf(t, WithMemory("64m"), WithEnv("A=1"), WithTmpfs("/data", "1m"))
	for name, opts := range map[string][]Option{
		"limit":    {WithMemory("32m"), WithMemory("33m")},
		"new":      {WithPids(1), WithPids(2)},
		"variable": {WithEnv("A=2"), WithEnv("A=3")},
		"target":   {WithTmpfs("/data", "2m"), WithTmpfs("/data", "3m")},
		"together": {WithSwap("1m"), WithMemoryHigh("128m")},
		"nil":      {nil},
	} {
		_, err := original.vary(opts)
		assert.ErrorIs(t, err, ErrInvalid, name)
	}
	_, err := original.vary([]Option{WithMemory("32m"), WithMemory("32m")})
	assert.NoError(t, err, "control: the same twice")
}

func TestCloneRefusesOtherWalls(t *testing.T) {
	original := specOf(t)
	for _, o := range []Option{
		WithRootfs("/"), WithLayers("/"), WithScratch("1m"), WithCredential(5, 5), WithCapabilities("CHOWN"), WithSeccomp(seccomp.Default()),
		WithHost(namespace.Net), WithPID(), WithTime(time.Hour), WithIDMap(nil, nil), WithLandlock(), WithoutLandlock(), WithCgroupParent("/x"),
		WithVolume(rootfs.Volume{Name: "v"}, "/v"), BestEffort(WithCapabilities("CHOWN")),
	} {
		_, err := original.vary([]Option{o})
		require.ErrorIs(t, err, ErrInvalid)
		label := o.name()
		if b, ok := o.(bestEffort); ok {
			label = b.of.name()
		}
		var e *Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, label, e.Op, "the error names the option")
		assert.Contains(t, err.Error(), "clone")
	}
}
