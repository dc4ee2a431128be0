package sandbox

import (
	"testing"
	"time"
)

// eventually waits for a state that is reached without help, for as long as a slow machine that does much else may take; a test that passes never waits so long.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(4 * time.Minute); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}
