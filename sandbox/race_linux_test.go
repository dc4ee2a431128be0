//go:build race

package sandbox

// raceEnabled tells whether the race detector is built in.
const raceEnabled = true
