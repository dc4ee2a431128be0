package sandbox

import "fmt"

// State is what a sandbox is doing as a whole.
type State int

const (
	// Running: commands can be started and run.
	Running State = iota + 1
	// Paused: every process inside is frozen; new commands start frozen.
	Paused
	// Restarting: everything inside is ending, and the sandbox is being made anew.
	Restarting
	// Exited: the sandbox has ended; its handle answers ErrClosed.
	Exited
)

// String returns the state in lower case.
func (s State) String() string {
	switch s {
	case Running:
		return "running"
	case Paused:
		return "paused"
	case Restarting:
		return "restarting"
	case Exited:
		return "exited"
	}
	return fmt.Sprintf("state %d", int(s))
}

// WindowSize is the size of a terminal: in characters, and in pixels if known.
type WindowSize struct {
	Rows, Cols, X, Y uint16
}
