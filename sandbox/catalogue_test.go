package sandbox_test

import (
	"go/ast"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// attack is a way in which sandboxes have been broken out of, crashed or lied to, here or elsewhere; the numbers are for good.
type attack struct {
	number int
	what   string
	tests  []string // that try it: package.Test
	// unpromised is a part of SECURITY.md that says why nothing is promised.
	unpromised string
}

var attacks = []attack{
	{1, "/proc or /sys is a symlink in the rootfs", []string{"sandbox.TestRootWithHostileMountPoints"}, ""},
	{2, "/dev is a symlink", []string{"sandbox.TestRootWithHostileMountPoints"}, ""},
	{3, "/dev/null and pts swapped while masking", []string{"sandbox.TestCase3DevAndProcSwapped", "sandbox.TestCase3SwappedAtTheMoment"}, ""},
	{4, "fake procfs under writes", []string{"sandbox.TestCase4FakeProc"}, ""},
	{5, "mount target swapped in a loop", []string{"sandbox.TestRootWithSwappedMountPoint"}, ""},
	{6, "dangling link or .. in targets makes no host inode", []string{"sandbox.TestRootWithHostileMountPoints", "sandbox.TestBindMakesNoSource", "rootfs.TestPaths"}, ""},
	{7, "/etc/resolv.conf an absolute link", []string{"sandbox.TestRootWithHostileMountPoints"}, ""},
	{8, "../.., /proc/1/root, /proc/*/cwd", []string{"sandbox.TestRootHasNoWayOut"}, ""},
	{9, "read-only bind with a writable submount", []string{"sandbox.TestCase9ReadOnlyBindWithWritableSubmount"}, ""},
	{10, "mount events cross neither way", []string{"sandbox.TestCase10MountEventsDoNotCross"}, ""},
	{11, "the source's flags are kept", []string{"sandbox.TestCase11FlagsOfTheSourceStay"}, ""},
	{12, "setuid and file capabilities gain nothing", []string{"sandbox.TestBindsGainNothing"}, ""},
	{13, "device nodes are dead", []string{"sandbox.TestBindsGainNothing", "sandbox.TestWithDevice"}, ""},
	{14, "FIFO, socket or device as output", []string{"sandbox.TestFilesRefused", "sandbox.TestLandlockClosesFIFOs"}, ""},
	{15, "no old root after the pivot", []string{"sandbox.TestRootHasNoOldRoot"}, ""},
	{16, "pivot impossible", []string{"sandbox.TestCase16NoPivot"}, ""},
	{17, "odd bytes in overlay paths", []string{"sandbox.TestLayersWithOddPaths", "sandbox.TestCase17UpperWithOddPath"}, ""},
	{18, "output or its parent a symlink", []string{"sandbox.TestWriteFileAndFS", "sandbox.TestFilesOfOthersBehindLinks"}, ""},
	{19, "chown and rm on paths made inside", []string{"sandbox.TestCase19LinksInAVolume", "rootfs/internal/tree.TestRemove", "sandbox.TestVolumeOfAFailedSandbox"}, ""},
	{20, "undeletable directories", []string{"sandbox.TestCase21VolumeWithDeepTreeIsRemoved"}, ""},
	{21, "deep trees, odd names", []string{"sandbox.TestCase21VolumeWithDeepTreeIsRemoved", "sandbox.TestReadDirOfManyAndOddNames"}, ""},
	{22, "masked files are empty", []string{"sandbox.TestProcIsMasked"}, ""},
	{23, "sysrq-trigger, core_pattern unwritable", []string{"sandbox.TestProcCannotBeWritten"}, ""},
	{24, "no unmasking", []string{"sandbox.TestProcStaysMasked"}, ""},
	{25, "cgroupfs absent or read-only", []string{"sandbox.TestNoCgroupfsAndNoSysfs", "sandbox.TestShownGroups"}, ""},
	{26, "/proc/1 closed", []string{"sandbox.TestInitIsClosed"}, ""},
	{27, "only declared descriptors", []string{"sandbox.TestOnlyDeclaredDescriptors"}, ""},
	{28, "the host's directory descriptors", []string{"sandbox.TestOnlyDeclaredDescriptors"}, ""},
	{29, "cwd=/proc/self/fd/N", []string{"sandbox.TestNoWayThroughDescriptors"}, ""},
	{30, "exec of /proc/self/fd/N, #!/proc/self/exe", []string{"sandbox.TestHostBinaryCannotBeExecuted"}, ""},
	{31, "/proc/1/exe for writing", []string{"sandbox.TestCase31ProgramsInPassing", "sandbox.TestInitIsClosed", "sandbox.TestHostBinaryCannotBeExecuted"}, ""},
	{32, "init's exe is not the host binary", []string{"sandbox.TestInitIsNotTheHostProgram"}, ""},
	{33, "flat descriptors, goroutines, zombies", []string{"sandbox.TestDescriptorsStayFlat", "sandbox.TestWarmIsFlat", "sandbox.TestColdIsFlat", "sandbox.TestManyLive"}, ""},
	{34, "unrequested SCM_RIGHTS", []string{"sandbox/internal/wire.TestTooManyDescriptorsAreClosed", "sandbox/internal/wire.TestMalformed"}, ""},
	{35, "five capability sets zero", []string{"sandbox.TestCredentials"}, ""},
	{36, "setuid(0), file capabilities", []string{"sandbox.TestNoNewPrivileges", "sandbox.TestBindsGainNothing"}, ""},
	{37, "supplementary groups dropped", []string{"sandbox.TestCredentials"}, ""},
	{38, "uid -1, 2^31, 2^32 refused", []string{"sandbox.TestOptionMistakes"}, ""},
	{39, "two sandboxes: no kill, ptrace, keyring", []string{"sandbox.TestSandboxesDoNotMeet", "sandbox.TestIDsAreOfOneSandbox"}, ""},
	{40, "unshare and clone NEWUSER", []string{"sandbox.TestNoUserNamespaceInside", "sandbox.TestFilterIsOn"}, ""},
	{41, "setns by fd or pidfd", []string{"sandbox.TestFilterIsOn"}, ""},
	{42, "mount, open_tree, fsopen, mount_setattr", []string{"sandbox.TestFilterIsOn", "sandbox.TestProcStaysMasked"}, ""},
	{43, "hostname and clocks", []string{"sandbox.TestHostNameAndClock"}, ""},
	{44, "open_by_handle_at", []string{"sandbox.TestFilterIsOn"}, ""},
	{45, "int 0x80", []string{"seccomp.TestKernelForeignEntry"}, ""},
	{46, "x32", []string{"seccomp.TestKernelForeignEntry"}, ""},
	{47, "clone3 ENOSYS, and pthreads work", []string{"sandbox.TestFilterIsOn", "seccomp.TestProgramsRun"}, ""},
	{48, "io_uring", []string{"sandbox.TestFilterIsOn"}, ""},
	{49, "AF_ALG, AF_VSOCK, AF_NETLINK", []string{"sandbox.TestFilterIsOn", "sandbox.TestHostNetworkIsOutOfReach"}, ""},
	{50, "ptrace, process_vm and their like", []string{"sandbox.TestFilterIsOn"}, ""},
	{51, "unknown number ENOSYS", []string{"seccomp.TestKernelUnknownNumbers"}, ""},
	{52, "threads made before the filter", nil, "in-place mode"},
	{53, "unknown name or empty policy", []string{"seccomp.TestValidate", "seccomp.TestParseErrors", "sandbox.TestOptionMistakes"}, ""},
	{54, "filter simulated over every number", []string{"seccomp.TestProgramMeansPolicy"}, ""},
	{55, "TIOCSTI", []string{"sandbox.TestFilterIsOn", "sandbox.TestTerminalOfTheHost"}, ""},
	{56, "kill(-1), SIGSTOP everything", []string{"sandbox.TestSignalsStayInside"}, ""},
	{57, "nothing survives", []string{"sandbox.TestNothingSurvivesItsCommand"}, ""},
	{58, "orphan storm", []string{"sandbox.TestNothingSurvivesItsCommand"}, ""},
	{59, "dispositions and masks reset", []string{"sandbox.TestSignalsAreReset"}, ""},
	{60, "exit 137, SIGKILL, OOM, timeout told apart", []string{"sandbox.TestEndsAreToldApart", "sandbox.TestVerdicts"}, ""},
	{61, "host loopback, raw, netlink", []string{"sandbox.TestHostNetworkIsOutOfReach", "sandbox.TestNetworkIsALoopback"}, ""},
	{62, "host abstract sockets", []string{"sandbox.TestHostNetworkIsOutOfReach"}, ""},
	{63, "shm, SysV, mqueue, keyring, vsock", []string{"sandbox.TestHostIPCIsOutOfReach", "sandbox.TestHostShmIsOutOfReach", "sandbox.TestSandboxesDoNotMeet", "sandbox.TestNetworkIsALoopback"}, ""},
	{64, "fork bomb", []string{"sandbox.TestPidsLimit", "cgroup.TestKillForkBomb"}, ""},
	{65, "thread flood", []string{"sandbox.TestCase65ThreadFlood"}, ""},
	{66, "zombie flood", []string{"sandbox.TestPidsLimit"}, ""},
	{67, "anonymous memory", []string{"sandbox.TestMemoryLimit"}, ""},
	{68, "tmpfs, shm, memfd charged and freed", []string{"sandbox.TestMemoryLimit"}, ""},
	{69, "page cache, pipes, sockets inside the limit", []string{"sandbox.TestMemoryLimit", "sandbox.TestCase69KernelMemory"}, ""},
	{70, "swap", []string{"sandbox.TestNoSwap"}, ""},
	{71, "disk and inodes", []string{"sandbox.TestTmpfsLimit", "sandbox.TestScratchIsBounded"}, ""},
	{72, "output flood with a slow reader", []string{"sandbox.TestOutputFloodWithSlowReader"}, ""},
	{73, "descriptors", []string{"sandbox.TestDescriptorLimit"}, ""},
	{74, "CPU spin", []string{"sandbox.TestCPUTimeLimit", "sandbox.TestCPUsLimit"}, ""},
	{75, "sleep forever, host clock stepped", []string{"sandbox.TestWallTimeLimit", "sandbox.TestCase75ClockStepped"}, ""},
	{76, "huge argv and env", []string{"sandbox.TestHugeArguments"}, ""},
	{77, "tiny limits", []string{"sandbox.TestTinyLimits"}, ""},
	{78, "starved monitor keeps the deadline", []string{"sandbox.TestDeadlineUnderLoad"}, ""},
	{79, "warm reuse carries nothing over", []string{"sandbox.TestSandboxesDoNotMeet", "sandbox.TestRestart"}, ""},
	{80, "host program killed at any moment", []string{"sandbox.TestKilledDuringSetup", "sandbox.TestHostKilled", "sandbox.TestHostAndZygoteKilled"}, ""},
	{81, "the thread that started it exits", []string{"sandbox.TestZygoteStarterEnds"}, ""},
	{82, "PDEATHSIG lost on uid change", []string{"sandbox.TestCase82ParentDeathSignal"}, ""},
	{83, "every set-up call made to fail", []string{"sandbox.TestFaultSetup", "sandbox.TestFaultCommand", "sandbox.TestFaultGroups", "sandbox.TestFaultZygote"}, ""},
	{84, "pre-existing or frozen cgroup", []string{"cgroup.TestParentInhabited", "cgroup.TestKillFrozen", "cgroup.TestSweepSparesOwner"}, ""},
	{85, "concurrent create, kill, wait", []string{"sandbox.TestConcurrentLives", "sandbox.TestHandleIsConcurrent"}, ""},
	{86, "write then exec: no ETXTBSY", []string{"sandbox.TestWriteThenExecute"}, ""},
	{87, "EAGAIN under a rename storm", []string{"sandbox.TestCase87RenameStormDuringSetup", "sandbox.TestFilesInARenameStorm"}, ""},
	{88, ".., absolute names", []string{"rootfs/image.TestNamesThatLeadOut"}, ""},
	{89, "symlink, then write through", []string{"rootfs/image.TestWriteThroughLink"}, ""},
	{90, "hardlink out", []string{"rootfs/image.TestHardLinkOut"}, ""},
	{91, "whiteouts that lead out", []string{"rootfs/image.TestWhiteoutsThatLeadOut"}, ""},
	{92, "entry for /.", []string{"rootfs/image.TestRootIsADirectory"}, ""},
	{93, "bombs", []string{"rootfs/image.TestUnpackBombs"}, ""},
	{94, "parallel unpack", []string{"rootfs/image.TestUnpackAtOnce", "rootfs.TestStoreAtOnce"}, ""},
	{95, "nothing executed while unpacking", []string{"rootfs/image.TestNothingIsExecuted"}, ""},
	{96, "digest and media type verified", []string{"rootfs/image.TestLiesAreNotStored", "rootfs/image.TestRefused"}, ""},
	{97, "smuggled overlay marks", []string{"rootfs/image.TestSmuggledMarks"}, ""},
	{98, "forged, oversized, truncated messages", []string{"sandbox/internal/wire.TestMalformed", "sandbox/internal/wire.TestDecodeRefusesForgedContent", "sandbox/internal/wire.FuzzReceive"}, ""},
	{99, "endless function result", nil, "in-place mode"},
	{100, "init's memory", []string{"sandbox.TestInitIsClosed"}, ""},
	{101, "exec failure versus forged exit code", []string{"sandbox.TestResultsCannotBeForged", "sandbox.TestCommandNotExecutable"}, ""},
	{102, "mistaken options", []string{"sandbox.TestOptionMistakes", "rootfs.TestPaths"}, ""},
	{103, "control bytes quoted", []string{"sandbox.TestErrorsAreQuoted", "sandbox.TestErrorText"}, ""},
}

// Every attack is tried by a test that exists, or SECURITY.md says that nothing is promised against it.
func TestCatalogue(t *testing.T) {
	tests := map[string]bool{}
	for _, f := range sources(t) {
		if !f.isTest() {
			continue
		}
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				tests[f.dir()+"."+fn.Name.Name] = true
			}
		}
	}
	text, err := os.ReadFile("../SECURITY.md")
	require.NoError(t, err)
	for i, a := range attacks {
		assert.Equal(t, i+1, a.number, "the list is complete and in order")
		assert.NotEqual(t, len(a.tests) == 0, a.unpromised == "", "case %d is either tried or not promised", a.number)
		for _, name := range a.tests {
			assert.True(t, tests[name], "case %d, %s: there is no %s", a.number, a.what, name)
			assert.Regexp(t, `\.(Test|Fuzz)`, name)
		}
		assert.True(t, strings.Contains(string(text), a.unpromised), "case %d: SECURITY.md does not say %q", a.number, a.unpromised)
	}
	assert.Len(t, attacks, 103)
}
