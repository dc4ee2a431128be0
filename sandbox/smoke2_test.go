package sandbox

import (
	"context"
	"os"
	"os/exec"
	"testing"
)

func TestSmokeRootfs(t *testing.T) {
	dir := t.TempDir()
	os.MkdirAll(dir+"/bin", 0o755)
	out, err := exec.Command("cp", "/bin/busybox", dir+"/bin/sh").CombinedOutput()
	if err != nil {
		t.Fatal(string(out))
	}
	os.WriteFile(dir+"/secret", []byte("x"), 0o600)
	src := t.TempDir()
	os.Chown(src, 1000, 1000)
	sb, err := New(WithPID(), WithMemory("50m"), WithRootfs(dir), WithBind(src, "/data"), WithFile("/etc/hello", []byte("hi"), 0o644), WithHosts(map[string]string{"a": "1.2.3.4"}))
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Close()
	t.Log(sb.Report())
	b, err := sb.Command("/bin/sh", "-c", "echo $$; ls -lan /; ls -la /dev /etc; echo x>/data/f; ls -lan /data; cat /etc/hosts; cat /secret; echo > /x; mount").CombinedOutput(context.Background())
	t.Log(string(b), err)
	es, _ := os.ReadDir(dir)
	t.Log(es)
}
