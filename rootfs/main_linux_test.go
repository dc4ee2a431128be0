package rootfs_test

import (
	"os"
	"testing"

	"github.com/belljar-go/belljar/rootfs/internal/leaktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(storeEnv) != "" {
		os.Exit(m.Run()) // a process that is going to be killed
	}
	os.Exit(leaktest.Main(m))
}
