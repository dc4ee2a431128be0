package sandbox

import (
	"context"
	"testing"
)

func TestSmoke(t *testing.T) {
	sb, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer sb.Close()
	t.Log(sb.Report())
	out, err := sb.Command("/bin/sh", "-c", "echo $$; id; ls -la / /dev /etc; cat /proc/self/status | grep -E 'Cap|Sec|NoNew'; cat /proc/self/cgroup; mount; ps aux; hostname; ip a").CombinedOutput(context.Background())
	t.Log(string(out), err)
}
