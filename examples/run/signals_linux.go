package main

import (
	"os"
	"os/signal"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/sandbox"
)

// endings are signals that ask for the end: of run while there is no program, else of the program, which may think otherwise.
var endings = []os.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT, unix.SIGTERM}

// messages are signals that mean something to the program alone.
var messages = []os.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM}

// relay passes signals that run gets on to the program.
type relay struct {
	term    *terminal
	signals chan os.Signal
	conts   chan os.Signal
	quit    chan struct{}

	mu      sync.Mutex
	sb      *sandbox.Sandbox
	cmd     *sandbox.Cmd // nil before it runs and after it has ended
	pending []os.Signal  // messages that came before
}

// catchSignals takes over run's signals.
func catchSignals(term *terminal) *relay {
	r := &relay{term: term, signals: make(chan os.Signal, 64), conts: make(chan os.Signal, 1), quit: make(chan struct{})}
	signal.Notify(r.signals, slices.Concat(endings, messages, []os.Signal{unix.SIGTSTP, unix.SIGWINCH})...)
	signal.Notify(r.conts, unix.SIGCONT)
	go r.serve()
	return r
}

// serve handles signals one by one until run ends.
func (r *relay) serve() {
	defer func() {
		if p := recover(); p != nil {
			r.term.restore()
			panic(p)
		}
	}()
	for {
		select {
		case s := <-r.signals:
			r.handle(s)
		case <-r.quit:
			return
		case <-r.conts:
			r.continued() // after a SIGSTOP, which cannot be caught
		}
	}
}

func (r *relay) handle(s os.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case s == unix.SIGTSTP:
		r.suspend()
	case s == unix.SIGWINCH:
		r.resize()
	case r.cmd != nil:
		_ = r.cmd.Signal(s) // it may just have ended
	case slices.Contains(endings, s):
		r.term.restore()
		os.Exit(128 + int(s.(unix.Signal))) // the sandbox ends with run
	default:
		r.pending = append(r.pending, s)
	}
}

// forward is called when the program runs.
func (r *relay) forward(sb *sandbox.Sandbox, cmd *sandbox.Cmd) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sb, r.cmd = sb, cmd
	for _, s := range r.pending {
		_ = cmd.Signal(s)
	}
	r.pending = nil
	r.resize() // it may have changed since the terminal was made
}

// ended is called when the program has ended: from now on a signal ends run.
func (r *relay) ended() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cmd = nil
}

// stop gives the signals back.
func (r *relay) stop() {
	signal.Stop(r.signals)
	signal.Stop(r.conts)
	close(r.quit)
}

func (r *relay) resize() {
	if r.cmd != nil && r.term != nil {
		_ = r.cmd.Resize(r.term.size())
	}
}

// suspend is Ctrl-Z in the user's shell, without -t: the program is paused and run stops, until fg or bg has both go on. The signal is
// of no use to the program itself: the kernel drops it in a session of which no other process is the parent's
// (credentials(7), orphaned process groups). Where there is no cgroup to pause, the program goes on.
func (r *relay) suspend() {
	paused := r.cmd != nil && r.sb.Pause() == nil
	raw := r.term.isRaw()
	r.term.restore()
	select { // an old one is not the one to wait for
	case <-r.conts:
	default:
	}
	// SIGTSTP itself would be dropped too where run's own process group is orphaned.
	_ = unix.Kill(unix.Getpid(), unix.SIGSTOP)
	<-r.conts
	if raw {
		_ = r.term.makeRaw()
		r.resize()
	}
	if paused {
		_ = r.sb.Resume()
	}
}

// continued has the terminal as it should be, whatever the shell made of it meanwhile.
func (r *relay) continued() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.term.isRaw() {
		_ = r.term.makeRaw()
		r.resize()
	}
}
