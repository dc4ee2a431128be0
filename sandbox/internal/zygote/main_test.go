//go:build linux

package zygote

import (
	"os"
	"testing"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Main(m, nil)) }
