//go:build linux

package launch

import (
	"os"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
)

// patience ends what hangs. A test that passes never waits for it, however slow the machine is.
const patience = 5 * time.Minute

func TestMain(m *testing.M) {
	mother()                               // which stays
	if err := ReserveSlots(); err != nil { // and so do these
		panic(err)
	}
	os.Exit(leaktest.Main(m, theSeed.end))
}
