package sandbox

import (
	"context"
	"os"
	"testing"
)

func BenchmarkSandbox(b *testing.B) {
	if err := Prepare(); err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	run := func(b *testing.B, sb *Sandbox) {
		res, err := sb.Command("/bin/true").Run(ctx)
		if err == nil {
			err = res.Err()
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.Run("forkexec", func(b *testing.B) {
		for b.Loop() {
			p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := p.Wait(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("warm", func(b *testing.B) {
		sb, err := New(WithMemory("64m"), WithPids(20))
		if err != nil {
			b.Fatal(err)
		}
		defer sb.Close()
		for b.Loop() {
			run(b, sb)
		}
	})
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			sb, err := New(WithMemory("64m"), WithPids(20))
			if err != nil {
				b.Fatal(err)
			}
			run(b, sb)
			if err := sb.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
