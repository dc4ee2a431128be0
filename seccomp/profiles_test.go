package seccomp

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// podmansProfile is what Debian's package golang-github-containers-common installs.
const podmansProfile = "/usr/share/containers/seccomp.json"

func readProfile(t *testing.T, file string, target Target) Policy {
	t.Helper()
	r, err := os.Open(file)
	if os.IsNotExist(err) && file == podmansProfile {
		skip(t, "the package golang-github-containers-common is not installed")
	}
	require.NoError(t, err)
	defer r.Close()
	p, err := ParseFor(r, target)
	require.NoError(t, err)
	return p
}

// decides asks the oracle what a policy does with a call.
func decides(t *testing.T, p Policy, arch Arch, name string, args ...uint64) Action {
	t.Helper()
	number, ok := arch.Number(name)
	require.True(t, ok, "%s: no %s", arch, name)
	d := callData{number: number, arch: uint32(arch)}
	copy(d.args[:], args)
	return meaning(p, arch, d)
}

func TestPodmansProfile(t *testing.T) {
	for _, arch := range supported {
		p := readProfile(t, podmansProfile, Target{Arch: arch})
		assert.Equal(t, noSuchCall, p.Default)
		assert.Equal(t, Allow, decides(t, p, arch, "read"))
		assert.Equal(t, Errno(eperm), decides(t, p, arch, "kexec_load"))
		assert.Equal(t, Errno(eperm), decides(t, p, arch, "bpf"), "a program without capabilities")
		assert.Equal(t, Allow, decides(t, p, arch, "personality", 8))
		assert.Equal(t, noSuchCall, decides(t, p, arch, "personality", 9))
		assert.Equal(t, Errno(22), decides(t, p, arch, "socket", 16, 3, 9), "NETLINK_AUDIT")
		assert.Equal(t, Allow, decides(t, p, arch, "socket", 16, 3, 0))
		able := readProfile(t, podmansProfile, Target{Arch: arch, Capabilities: []string{"CAP_SYS_ADMIN", "CAP_AUDIT_WRITE"}})
		assert.Equal(t, Allow, decides(t, able, arch, "bpf"))
		assert.Equal(t, Allow, decides(t, able, arch, "socket", 16, 3, 9))
		assert.Equal(t, Errno(eperm), decides(t, able, arch, "kcmp"), "of another capability")
		requireProfileCompiles(t, p)
	}
	p := readProfile(t, podmansProfile, Target{})
	assert.Equal(t, Allow, decides(t, p, AMD64, "arch_prctl"))
	assert.Equal(t, noSuchCall, p.unknown())
	assert.Contains(t, p.SubArches, I386)
	number, _ := I386.Number("kexec_load")
	assert.Equal(t, Errno(eperm), meaning(p, AMD64, callData{number: number, arch: uint32(I386)}))
	number, _ = I386.Number("socketcall")
	assert.Equal(t, Allow, meaning(p, AMD64, callData{number: number, arch: uint32(I386)}))
}

// TestMobysForm reads a file that uses what moby's profile uses.
func TestMobysForm(t *testing.T) {
	const file = "testdata/profiles/moby-form.json"
	old := readProfile(t, file, Target{Arch: AMD64, Kernel: "4.7"})
	p := readProfile(t, file, Target{Arch: AMD64, Kernel: "5.10"})
	assert.Equal(t, Errno(eperm), p.Default)
	assert.Equal(t, Allow, decides(t, p, AMD64, "openat"))
	assert.Equal(t, Allow, decides(t, p, AMD64, "arch_prctl"))
	_, onARM := ARM64.Number("arch_prctl")
	assert.False(t, onARM)
	assert.Equal(t, Allow, decides(t, p, AMD64, "ptrace"), "since 4.8")
	assert.Equal(t, Errno(eperm), decides(t, old, AMD64, "ptrace"))
	assert.Equal(t, Allow, decides(t, p, AMD64, "clone", 0x3d0f00))
	assert.Equal(t, Errno(eperm), decides(t, p, AMD64, "clone", 0x10000000))
	assert.Equal(t, noSuchCall, decides(t, p, AMD64, "clone3"))
	assert.Equal(t, Allow, decides(t, p, AMD64, "socket", 1))
	assert.Equal(t, Errno(eperm), decides(t, p, AMD64, "socket", 40), "AF_VSOCK")
	assert.Equal(t, Allow, decides(t, p, AMD64, "modify_ldt"))
	assert.Equal(t, []Arch{I386, ARM}, p.SubArches)
	able := readProfile(t, file, Target{Arch: ARM64, Kernel: "5.10", Capabilities: []string{"CAP_SYS_ADMIN"}})
	assert.Equal(t, Allow, decides(t, able, ARM64, "clone", 0x10000000))
	assert.Equal(t, Allow, decides(t, able, ARM64, "clone3"))
	assert.Equal(t, Allow, decides(t, able, ARM64, "mount"))
	requireProfileCompiles(t, p)
}

// requireProfileCompiles holds the programs to the policy, and writes it and reads it again.
func requireProfileCompiles(t *testing.T, p Policy) {
	t.Helper()
	requireAllEqual(t, p, true, rand.New(rand.NewPCG(19, 19)))
	back := requireRoundTrip(t, p)
	assert.Equal(t, p.String(), back.String())
}

func TestTargetMistakes(t *testing.T) {
	const profile = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG"}]}`
	_, err := ParseFor(strings.NewReader(profile), Target{Arch: 7})
	require.ErrorIs(t, err, ErrUnsupported)
	_, err = ParseFor(strings.NewReader(profile), Target{Kernel: "six"})
	require.ErrorIs(t, err, ErrInvalid)
	_, err = ParseFor(strings.NewReader(profile), Target{Arch: ARM64, Kernel: "6.1", Capabilities: []string{"CAP_KILL"}})
	require.NoError(t, err)
}
