package tree_test

import (
	"os"
	"testing"

	"github.com/belljar-go/belljar/rootfs/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Main(m)) }
