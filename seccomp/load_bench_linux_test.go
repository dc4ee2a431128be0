//go:build amd64 || arm64

package seccomp

import (
	"maps"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// BenchmarkLoad is what a sandbox pays for its filter at each start: the seccomp(2) call alone. Beside it the least a
// filter can cost, and libseccomp's chain of comparisons.
func BenchmarkLoad(b *testing.B) {
	least := Program{code: string(encode([]insn{ret(Allow)}))}
	b.Run("one instruction", func(b *testing.B) { benchmarkLoad(b, least) })
	for _, name := range slices.Sorted(maps.Keys(backends)) {
		b.Run(name, func(b *testing.B) { benchmarkLoad(b, compileWith(b, name, Default())) })
	}
}

func benchmarkLoad(b *testing.B, p Program) {
	var spent time.Duration
	var all []time.Duration
	for b.Loop() {
		done := make(chan error)
		var took time.Duration
		go func() {
			// Never unlocked: the thread dies with its filter when the goroutine ends.
			runtime.LockOSThread()
			var err error
			took, err = loadOnThread(p)
			done <- err
		}()
		require.NoError(b, <-done)
		spent += took
		all = append(all, took)
	}
	slices.Sort(all)
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/load")
	b.ReportMetric(float64(all[len(all)/2].Nanoseconds()), "ns/median")
	b.ReportMetric(float64(all[0].Nanoseconds()), "ns/least") // what others on the machine did not disturb
	b.ReportMetric(float64(p.Len()), "insns")
}

// loadOnThread makes a filter active for the calling thread only.
func loadOnThread(p Program) (time.Duration, error) {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	code := p.Bytes()
	prog := unix.SockFprog{Len: uint16(p.Len()), Filter: (*unix.SockFilter)(unsafe.Pointer(&code[0]))}
	start := time.Now()
	_, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	took := time.Since(start)
	if e != 0 {
		return 0, e
	}
	return took, nil
}
