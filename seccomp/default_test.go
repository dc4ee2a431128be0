package seccomp

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
)

// refused are calls Default must never let through, each for what it opens. Written by hand, from no table.
var refused = []string{
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp", // other processes
	"mount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr", "move_mount", // mounts
	"fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
	"unshare", "setns", // namespaces
	"io_uring_setup", "io_uring_enter", "io_uring_register", "bpf", "perf_event_open", "userfaultfd", // kernel surface
	"add_key", "request_key", "keyctl", "fanotify_init", "lookup_dcookie",
	"open_by_handle_at",                                                                       // files by number (CVE-2014-9357's way out)
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", // the machine
	"swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog", "vhangup",
	"settimeofday", "clock_settime", "sethostname", "setdomainname", "nfsservctl",
	"mbind", "set_mempolicy", "migrate_pages", "move_pages", "set_mempolicy_home_node",
	"lsm_set_self_attr", "lsm_get_self_attr", "lsm_list_modules",
}

// refusedAMD64 exist on amd64 only.
var refusedAMD64 = []string{"modify_ldt", "iopl", "ioperm", "uselib", "ustat", "sysfs", "_sysctl", "create_module", "query_module", "get_kernel_syms"}

func TestDefaultGolden(t *testing.T) {
	eperm, enosys := Errno(syscall.EPERM), Errno(syscall.ENOSYS)
	type call struct {
		name string
		args []uint64
		want Action
	}
	calls := []call{
		{"read", nil, Allow},
		{"execve", nil, Allow},
		{"exit_group", nil, Allow},
		{"prctl", nil, Allow},
		{"futex", nil, Allow},
		{"clone3", nil, enosys},
		{"statmount", nil, enosys},
		{"listmount", nil, enosys},
		{"get_mempolicy", nil, enosys},

		{"clone", []uint64{17}, Allow},       // fork: SIGCHLD
		{"clone", []uint64{0x3d0f00}, Allow}, // glibc's pthread_create
		{"clone", []uint64{0x4111}, Allow},   // vfork
		{"clone", []uint64{0x10000000}, eperm},
		{"clone", []uint64{0x00020011}, eperm},
		{"clone", []uint64{0x02000011}, eperm},
		{"clone", []uint64{0x04000011}, eperm},
		{"clone", []uint64{0x08000011}, eperm},
		{"clone", []uint64{0x20000011}, eperm},
		{"clone", []uint64{0x40000011}, eperm},
		{"clone", []uint64{0xffffffff}, eperm},
		{"clone", []uint64{1<<63 | 0x10000011}, eperm},

		{"socket", []uint64{1}, Allow},
		{"socket", []uint64{2}, Allow},
		{"socket", []uint64{10}, Allow},
		{"socket", []uint64{1 << 32}, eperm},
		{"socket", []uint64{1<<32 | 2}, Allow}, // an int: the upper half is no matter
		{"socket", []uint64{0}, eperm},
		{"socket", []uint64{3}, eperm},
		{"socket", []uint64{9}, eperm},
		{"socket", []uint64{11}, eperm},
		{"socket", []uint64{16}, eperm},
		{"socket", []uint64{17}, eperm},
		{"socket", []uint64{38}, eperm},
		{"socket", []uint64{40}, eperm},
		{"socket", []uint64{1<<32 | 16}, eperm},
		{"socket", []uint64{1<<32 | 40}, eperm},
		{"socket", []uint64{^uint64(0)}, eperm},
		{"socketpair", []uint64{1}, Allow},
		{"socketpair", []uint64{30}, eperm},

		{"ioctl", []uint64{0, 0x5401}, Allow},
		{"ioctl", []uint64{0, 0x5413}, Allow},
		{"ioctl", []uint64{0, 0x5412}, eperm},
		{"ioctl", []uint64{0, 0x541c}, eperm},
		{"ioctl", []uint64{0, 1<<32 | 0x5412}, eperm},
		{"ioctl", []uint64{0, 0xffffffff0000541c}, eperm}, // CVE-2019-10063
		{"ioctl", []uint64{0x5412, 0x5401}, Allow},

		{"personality", []uint64{0}, Allow},
		{"personality", []uint64{8}, Allow},
		{"personality", []uint64{0xffffffff}, Allow},
		{"personality", []uint64{^uint64(0)}, Allow},
		{"personality", []uint64{0x20000}, Allow},
		{"personality", []uint64{0x20008}, Allow},
		{"personality", []uint64{0x40000}, eperm},
		{"personality", []uint64{0x0400000}, eperm},
		{"personality", []uint64{1}, eperm},
	}
	for _, name := range refused {
		calls = append(calls, call{name, nil, eperm})
	}
	for _, arch := range []Arch{AMD64, ARM64} {
		on := calls
		if arch == AMD64 {
			for _, name := range refusedAMD64 {
				on = append(on, call{name, nil, eperm})
			}
			on = append(on, call{"arch_prctl", nil, Allow}, call{"fork", nil, Allow}, call{"open", nil, Allow})
		}
		for _, c := range on {
			number, ok := arch.Number(c.name)
			if !ok && arch == ARM64 && c.name == "lookup_dcookie" {
				continue
			}
			if assert.True(t, ok, "%s: no %s", arch, c.name) {
				d := callData{number: number, arch: uint32(arch)}
				copy(d.args[:], c.args)
				assert.Equal(t, c.want, meaning(Default(), arch, d), "%s: %s %#x", arch, c.name, c.args)
				assertProgram(t, arch, d, c.want)
			}
		}
		for _, d := range []callData{{number: 9999}, {number: 350}, {number: 600}, {number: 0xffffffff}, {number: 0x40000000 | 39}} {
			d.arch = uint32(arch)
			assert.Equal(t, enosys, meaning(Default(), arch, d), "%s: %#x", arch, d.number)
			assertProgram(t, arch, d, enosys)
		}
		foreign := callData{number: 20, arch: 0x40000003}
		assert.Equal(t, KillProcess, meaning(Default(), arch, foreign))
		assertProgram(t, arch, foreign, KillProcess)
	}
}

// assertProgram holds the compiled default policy to the same expectation, where this build compiles for the
// architecture.
func assertProgram(t *testing.T, arch Arch, d callData, want Action) {
	t.Helper()
	program, err := Default().Compile()
	if err != nil {
		assert.ErrorIs(t, err, ErrUnsupported)
		return
	}
	if program.Arch() != arch {
		return
	}
	got, _, err := newInterpreter(program.Bytes()).run(d.bytes())
	assert.NoError(t, err)
	assert.Equal(t, want, Action(got), "program: number %#x args %#x", d.number, d.args)
}

func TestGroupsNameEachCallOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, g := range allGroups() {
		for _, name := range g.names {
			assert.False(t, seen[name], "%s stands twice", name)
			seen[name] = true
			_, amd := AMD64.Number(name)
			_, arm := ARM64.Number(name)
			assert.True(t, amd || arm, "%s is a call of neither architecture", name)
		}
	}
	for _, arch := range []Arch{AMD64, ARM64} {
		for _, name := range arch.Names() {
			assert.True(t, seen[name], "%s has no group: say why it passes or not; a call younger than a preset belongs to those that answer ENOSYS", name)
		}
	}
}
