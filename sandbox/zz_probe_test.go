package sandbox

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestProbe(t *testing.T) {
	sb, err := New(WithMemory("64m"), WithPids(30))
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Close()
	if err := sb.WriteFile("/box/s", []byte("#!/proc/self/exe\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := sb.Command("/box/s", "-test.run=XXX").CombinedOutput(context.Background())
	t.Logf("script: %q %v", out, err)
	out, err = sb.Command("/bin/sh", "-c", "ln -s /proc/self/exe /box/l; truncate -s 4611686018427387904 /box/huge; ls -la /box").CombinedOutput(context.Background())
	t.Logf("%s %v", out, err)
	out, err = sb.Command("/box/l", "-test.run=XXX").CombinedOutput(context.Background())
	t.Logf("link: %q %v", out, err)
	func() {
		defer func() { t.Log("recovered", recover()) }()
		b, err := fs.ReadFile(sb.FS(), "box/huge")
		t.Log(len(b), err)
	}()
	// confused deputy
	d := t.TempDir()
	os.Chmod(d, 0o777)
	os.WriteFile(filepath.Join(d, "root"), []byte("precious"), 0o600)
	sb2, err := New(WithBind(d, "/data"))
	if err != nil {
		t.Fatal(err)
	}
	defer sb2.Close()
	out, err = sb2.Command("/bin/sh", "-c", "ls -la /data; cat /data/root; ln -s /data/root /box/in").CombinedOutput(context.Background())
	t.Logf("%s %v", out, err)
	t.Log(sb2.WriteFile("/box/in", []byte("evil"), 0o644))
	b, _ := os.ReadFile(filepath.Join(d, "root"))
	st, _ := os.Stat(filepath.Join(d, "root"))
	t.Logf("%s %v", b, st)
	// tty + keep
	var buf bytes.Buffer
	c := sb.Command("/bin/sh", "-c", "stty size; trap '' HUP; sleep 1000 & echo hi")
	c.TTY = &WindowSize{Rows: 10, Cols: 20}
	c.Stdout = &buf
	c.KeepLeftovers = true
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	ch := make(chan *Result)
	go func() { r, err := c.Wait(); t.Log(err); ch <- r }()
	select {
	case r := <-ch:
		t.Log(r.Verdict, buf.String())
	case <-time.After(3 * time.Second):
		t.Log("TTY wait hangs", buf.String())
	}
	out, err = sb.Command("/usr/bin/python3", "-c", "import fcntl,os; print([fcntl.fcntl(i,fcntl.F_GETFL)&os.O_NONBLOCK for i in (0,1,2)])").CombinedOutput(context.Background())
	t.Logf("%s %v", out, err)
}
