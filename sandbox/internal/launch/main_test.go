//go:build linux

package launch

import (
	"os"
	"testing"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
)

func TestMain(m *testing.M) {
	mother()                               // which stays
	if err := ReserveSlots(); err != nil { // and so do these
		panic(err)
	}
	os.Exit(leaktest.Main(m, theSeed.end))
}
