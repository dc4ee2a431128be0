//go:build linux && cgo && (amd64 || arm64) && !belljar_noseccomplib

package seccomp

import (
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"github.com/stretchr/testify/assert"
)

// TestTablesAgreeWithLibseccomp compares with a table that has another source, as far as the installed version's goes.
func TestTablesAgreeWithLibseccomp(t *testing.T) {
	for arch, theirs := range map[Arch]libseccomp.ScmpArch{AMD64: libseccomp.ArchAMD64, ARM64: libseccomp.ArchARM64, I386: libseccomp.ArchX86, ARM: libseccomp.ArchARM} {
		compared := 0
		for _, name := range arch.Names() {
			number, _ := arch.Number(name)
			if got, err := libseccomp.GetSyscallFromNameByArch(name, theirs); err == nil && got >= 0 {
				assert.Equal(t, number, uint32(got), "%s: %s", arch, name)
				compared++
			}
		}
		assert.Greater(t, compared, 290, "%s", arch)
	}
}
