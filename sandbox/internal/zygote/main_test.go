//go:build linux

package zygote

import (
	"os"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
)

// patience ends what hangs. A test that passes never waits for it, however slow the machine is.
const patience = 5 * time.Minute

func TestMain(m *testing.M) { os.Exit(leaktest.Main(m, nil)) }
