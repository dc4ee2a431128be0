package sandbox

import (
	"context"
	"os"
	"runtime"
	"testing"
)

// BenchmarkHeap sets sandboxes beside fork+exec, with an empty heap in the host program and with one of a GiB: whatever grows with the
// heap is a copy of page tables, which nothing here may make.
func BenchmarkHeap(b *testing.B) {
	if err := Prepare(); err != nil {
		b.Fatal(err)
	}
	for _, size := range []struct {
		name  string
		bytes int
	}{{"0", 0}, {"1GiB", 1 << 30}} {
		b.Run(size.name, func(b *testing.B) {
			heap := make([]byte, size.bytes)
			for i := 0; i < len(heap); i += os.Getpagesize() {
				heap[i] = 1
			}
			b.Run("forkexec", benchForkExec)
			b.Run("warm", benchWarm)
			b.Run("cold", benchCold)
			b.Run("start", benchZygote)
			runtime.KeepAlive(heap)
		})
		runtime.GC()
	}
}

func benchForkExec(b *testing.B) {
	for b.Loop() {
		p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
		if err == nil {
			_, err = p.Wait()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func runTrue(b *testing.B, sb *Sandbox) {
	res, err := sb.Run(context.Background(), "/bin/true")
	if err == nil {
		err = res.Err()
	}
	if err != nil {
		b.Fatal(err)
	}
}

func benchWarm(b *testing.B) {
	sb := newBox(b, WithMemory("64m"), WithPids(20))
	for b.Loop() {
		runTrue(b, sb)
	}
}

func benchCold(b *testing.B) {
	opts := []Option{WithMemory("64m"), WithPids(20)}
	for b.Loop() {
		sb, err := New(opts...)
		if err != nil {
			b.Fatal(err)
		}
		runTrue(b, sb)
		if err := sb.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// benchZygote is what a program pays once.
func benchZygote(b *testing.B) {
	for b.Loop() {
		stopZygote()
		if err := Prepare(); err != nil {
			b.Fatal(err)
		}
	}
}
