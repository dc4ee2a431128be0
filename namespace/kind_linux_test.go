package namespace_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/namespace"
)

func TestSet(t *testing.T) {
	s := namespace.Of(namespace.Net, namespace.User, namespace.Kind(0), namespace.Kind(99))
	assert.Equal(t, "user,net", s.String())
	assert.Equal(t, []namespace.Kind{namespace.User, namespace.Net}, s.Kinds())
	assert.True(t, s.Has(namespace.Net))
	assert.False(t, s.Has(namespace.PID))
	assert.False(t, s.Has(0), "the zero kind is in no set")
	assert.False(t, s.Has(99))

	assert.Equal(t, "user", s.Without(namespace.Net, namespace.PID, 99).String())
	assert.Equal(t, "user,net", s.String(), "sets are values")
	assert.Equal(t, "none", namespace.Set(0).String())
	assert.Empty(t, namespace.Set(0).Kinds())
	assert.Equal(t, "user,pid,mount,uts,ipc,net,cgroup,time", namespace.All().String())
	assert.Equal(t, namespace.User.CloneFlag()|namespace.Net.CloneFlag(), s.CloneFlags())
	assert.Zero(t, namespace.Set(0).CloneFlags())
}

func TestKindInvalid(t *testing.T) {
	for _, k := range []namespace.Kind{0, namespace.Time + 1, 255} {
		assert.False(t, k.Valid())
		assert.Equal(t, "invalid", k.String())
		assert.Empty(t, k.File())
		assert.Zero(t, k.CloneFlag())
	}
}

// The numbers are repeated in the package; here they are held against the kernel's.
func TestCloneFlags(t *testing.T) {
	want := map[namespace.Kind]uint64{
		namespace.User: unix.CLONE_NEWUSER, namespace.PID: unix.CLONE_NEWPID, namespace.Mount: unix.CLONE_NEWNS,
		namespace.UTS: unix.CLONE_NEWUTS, namespace.IPC: unix.CLONE_NEWIPC, namespace.Net: unix.CLONE_NEWNET,
		namespace.Cgroup: unix.CLONE_NEWCGROUP, namespace.Time: unix.CLONE_NEWTIME,
	}
	for _, k := range namespace.All().Kinds() {
		assert.Equal(t, want[k], k.CloneFlag(), k.String())
	}
	assert.Len(t, want, len(namespace.All().Kinds()))
}

func TestFileIsInProc(t *testing.T) {
	for _, k := range namespace.All().Kinds() {
		t.Run(k.String(), func(t *testing.T) {
			_, err := os.Lstat("/proc/self/ns/" + k.File())
			if errors.Is(err, fs.ErrNotExist) {
				skip(t, "this kernel has no "+k.String()+" namespaces")
			}
			assert.NoError(t, err)
		})
	}
}

func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("BELLJAR_MUST_WORK") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}
