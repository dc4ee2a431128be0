package sandbox

import (
	"fmt"
	"time"
)

// Stage is a part of what was done for a sandbox or a command.
type Stage struct {
	Name     string
	Duration time.Duration
	// Ahead reports that it was over before anybody asked for the result, so that nobody waited for it: it is not part of the time that a
	// call took.
	Ahead bool
}

// String returns the stage for people: "launch 1.2ms".
func (s Stage) String() string {
	text := fmt.Sprintf("%s %v", escape(s.Name), s.Duration)
	if s.Ahead {
		text += ", ahead of time"
	}
	return text
}

// commandStages are the stages of a command, in order. What is between the first and the last is told by the zygote, but for the messages.
const (
	stagePrepare = iota
	stageMessages
	stageLeaf
	stageLaunch
	stageRun
	stageAccounts
	stageOutput
	stageCount
)

var stageNames = [stageCount]string{"prepare", "messages", "leaf", "launch", "run", "accounts", "output"}

// stageTimes is how long the stages of a command took.
type stageTimes [stageCount]time.Duration

// Stages says where the command's time went, from Start or Run to its end; the durations add up to it. They are
//
//   - prepare: checking the command and compiling what is particular to it
//   - messages: to the zygote and back, with the wake-ups of who waits for them
//   - leaf: the command's own cgroup and files; next to nothing where they stood ready
//   - launch: from clone3(2) to the program's execve(2); where the process stood ready it may be no stage of its own, but part of run
//   - run: the program itself, until its end was noticed
//   - accounts: killing what it left behind and reading its accounts; of a process that stood ready, which tells them itself, nothing
//   - output: copying what was left to copy of its output
//
// launch and run together are Usage.Wall. With [Cmd.Start] the time that it takes the caller to come to Wait is no part of them.
func (r *Result) Stages() []Stage {
	all := make([]Stage, stageCount)
	for i, d := range r.stages {
		all[i] = Stage{Name: stageNames[i], Duration: d}
	}
	return all
}

// lap notes that a stage of the sandbox is over.
func (e *engine) lap(name string, since *time.Time) {
	now := time.Now()
	e.report.Stages = append(e.report.Stages, Stage{Name: name, Duration: now.Sub(*since)})
	*since = now
}

// lapEnd notes what closing the sandbox took. The caller holds the sandbox's lock.
func (e *engine) lapEnd(begin time.Time) {
	e.report.Stages = append(e.report.Stages, e.ending...)
	e.lap("close", &begin)
}

// handedOut notes in the report that the sandbox was made ahead of time, and how long who asked for it has waited since then, by a stage of that name.
func (sb *Sandbox) handedOut(name string, asked time.Time) {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	r := &sb.engine.report
	for i := range r.Stages {
		r.Stages[i].Ahead = true
	}
	r.Stages = append(r.Stages, Stage{Name: name, Duration: time.Since(asked)})
}

// stages puts together what is known of a command that has ended. What is missing from the time that the zygote was busy with it went into messages.
func (c *Cmd) stages(x *exitFacts, ended time.Time) stageTimes {
	t := x.stages
	t[stagePrepare], t[stageOutput] = c.asked.Sub(c.begun), time.Since(ended)
	t[stageMessages] = max(ended.Sub(c.asked)-t[stageLeaf]-t[stageLaunch]-t[stageRun]-t[stageAccounts], 0)
	return t
}
