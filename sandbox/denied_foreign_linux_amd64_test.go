package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/belljar-go/belljar/seccomp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// program386 is a 32-bit program that writes "32" and exits with the errno that mount gives it: EFAULT, unless a filter says otherwise.
func program386() []byte {
	const base, code = 0x08048000, 52 + 32
	text := []byte{
		0xb8, 4, 0, 0, 0, 0xbb, 1, 0, 0, 0, // write to 1
		0xb9, 0, 0, 0, 0, 0xba, 3, 0, 0, 0, 0xcd, 0x80,
		0xb8, 21, 0, 0, 0, 0x31, 0xdb, 0x31, 0xc9, 0x31, 0xd2, 0x31, 0xf6, 0x31, 0xff, 0xcd, 0x80, // mount of nothing
		0xf7, 0xd8, 0x89, 0xc3, 0xb8, 1, 0, 0, 0, 0xcd, 0x80, // exit
	}
	binary.LittleEndian.PutUint32(text[11:], base+code+uint32(len(text)))
	text = append(text, "32\n"...)
	var b bytes.Buffer
	b.WriteString("\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	for _, part := range []any{
		[]uint16{2, 3}, []uint32{1, base + code, 52, 0, 0}, []uint16{52, 32, 1, 0, 0, 0}, // ET_EXEC, EM_386
		[]uint32{1, 0, base, base, code + uint32(len(text)), code + uint32(len(text)), 5, 0x1000}, // PT_LOAD, r-x
	} {
		_ = binary.Write(&b, binary.LittleEndian, part)
	}
	return append(b.Bytes(), text...)
}

// What i386's programs may do is up to the policy's sub-architectures, which no preset has, and docker's profile does.
func TestForeignProgram(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "32")
	require.NoError(t, os.WriteFile(file, program386(), 0o700))
	out, err := exec.Command(file).Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		skip(t, "not exercised: the kernel has no i386 emulation: "+err.Error())
	}
	require.Equal(t, "32\n", string(out), "the control")
	require.Equal(t, int(unix.EFAULT), exit.ExitCode())

	letIn := func(p seccomp.Policy) seccomp.Policy {
		p.SubArches = []seccomp.Arch{seccomp.I386}
		return p
	}
	profile, err := os.Open("../seccomp/testdata/profiles/moby-form.json")
	require.NoError(t, err)
	defer profile.Close()
	docker, err := seccomp.Parse(profile)
	require.NoError(t, err)
	kills := seccomp.Default().WithDenied(seccomp.KillProcess)
	for _, c := range []struct {
		name    string
		policy  seccomp.Policy
		verdict Verdict
		out     string
		syscall string
	}{
		{"default", seccomp.Default(), Signaled, "", ""},
		{"default, 386", letIn(seccomp.Default()), NonZeroExit, "32\n", ""},
		{"docker", docker, NonZeroExit, "32\n", ""},
		{"kill", kills, SyscallDenied, "", "386: write(arg0=0x1, "},
		{"kill, 386", letIn(kills), SyscallDenied, "32\n", "386: mount(arg0=0x0, "},
	} {
		if testing.Short() && (c.name == "default, 386" || c.name == "kill") {
			continue // each has a sandbox of its own; docker and "kill, 386" show as much
		}
		t.Run(c.name, func(t *testing.T) {
			if c.verdict == SyscallDenied {
				answered(t)
			}
			cmd := standing(t, WithSeccomp(c.policy), WithFile("/32", program386(), 0o755)).Command("/32")
			var out strings.Builder
			cmd.Stdout = &out
			res, err := cmd.Run(inTime(t))
			require.NoError(t, err)
			assert.Equal(t, c.verdict, res.Verdict)
			assert.Equal(t, c.out, out.String())
			assert.True(t, strings.HasPrefix(res.Syscall, c.syscall) && (res.Syscall == "") == (c.syscall == ""), res.Syscall)
			switch c.verdict {
			case NonZeroExit:
				assert.Equal(t, int(unix.EPERM), res.ExitCode)
			case Signaled:
				assert.Equal(t, unix.SIGSYS, res.Signal)
			}
		})
	}
}
