// Package seccomp says which system calls a program may make, and turns that into the classic BPF program the kernel
// runs before each of them.
//
// A [Policy] is a value: a default action, and rules that name calls and may compare their arguments. [Default] is the
// allow-list every sandbox gets unless it asks for another. [Policy.Compile] makes a [Program] for the architecture the
// host program runs on; its bytes are what seccomp(2) takes.
//
// The package makes no filter active: loading one into the calling process would cripple every other goroutine in it.
// It is of use without the sandbox package wherever somebody else loads the bytes.
//
// # What a compiled policy always does
//
//   - A call that comes by another architecture's entry (on amd64: int 0x80 and the i386 entries) kills the process,
//     unless the policy lets that architecture in ([Policy.SubArches]).
//     Numbers mean something else there, and a filter that lets them through filters nothing.
//   - On amd64 the x32 numbers (bit 30 set) answer ENOSYS, as a kernel built without x32 does.
//   - Numbers that are no call in this package's tables get [Policy.Unknown], ENOSYS unless said otherwise, so that a
//     newer libc falls back to what it did on an older kernel.
//
// # Answering, and learning
//
// [Ask] has a supervisor asked. [Notify] makes a handler of a Go function, and says what its answers may rest on; a
// sandbox takes handlers beside the policy, and a [Supervisor] serves any filter's listener. [Learn] gathers what a program
// does, and makes a policy of it.
//
// # Two back ends, one meaning
//
// With cgo, libseccomp writes the program's search for the call's number, as a tree. What it hands out is run over every
// number and compared with the policy before anything is returned. Without cgo, or with the build tag
// belljar_noseccomplib, this package does it in Go alone, and smaller: ranges of numbers that are decided alike, in a
// binary search tree. [Backend] says which one a build has. The tests run the programs of both over every number of every
// architecture, and load both into the kernel.
//
// Argument comparisons are generated here in both, because libseccomp can neither order rules nor compare one argument
// twice, loses some of several rules for a call without an error (2.5.4), and before 2.4 compared 64-bit arguments
// wrongly (CVE-2019-9893).
//
// # Policies from files, and policies from policies
//
// [Parse] reads the profiles of Docker and Podman, [Policy.Marshal] writes them. [Policy.Merge] lets through what either
// of two policies does, [Policy.Restrict] nothing that either denies.
package seccomp
