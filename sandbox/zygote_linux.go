package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"github.com/belljar-go/belljar/sandbox/internal/zygote"
	"golang.org/x/sys/unix"
)

// zygoteClient is the host program's end of its zygote.
type zygoteClient struct {
	conn   *wire.Conn
	pid    int
	stderr *os.File // what the zygote had to say when it failed
	next   atomic.Uint64
	dead   chan struct{} // closed when the zygote is gone and every waiter has been told

	started  chan struct{} // closed when it serves, or never will
	startErr error

	mu      sync.Mutex
	facts   *hostFacts                    // never changed, only replaced
	waiting map[uint64]chan *wire.Message // replies
	exits   map[uint64]chan *wire.Exit
	told    map[uint64]func([]wire.Event) // who watches events; must not block
	listens map[uint64]func(uint64, int)  // who answers for a command's filter; must not block
	ends    map[uint64]ending             // of sandboxes
	early   map[uint64]bool               // sandboxes that ended before anybody watched them
	bases   map[string]*commandBase       // by their encoding
	shapes  shapes
	mounts  mountCounter
	lanes   []*wire.Conn // that nobody uses
	inLanes int          // how many there are
	gone    bool
	why     error
}

// maxBases bounds what is kept of the plans of commands, here and in the zygote. With more than so many kinds of sandboxes at once they are sent again.
const maxBases = 128

// shareBase returns the one of all equal bases that is used from now on.
func (c *zygoteClient) shareBase(b *commandBase) *commandBase {
	b.encoded = b.plan.Encode()
	key := fmt.Sprintf("%s %d", b.encoded, b.flags.Value) // the flags come in a later step
	c.mu.Lock()
	defer c.mu.Unlock()
	if before := c.bases[key]; before != nil {
		return before
	}
	if c.bases == nil || len(c.bases) >= maxBases {
		c.bases = map[string]*commandBase{}
	}
	b.id = c.next.Add(1)
	c.bases[key] = b
	return b
}

// theZygote is the one of this process. A dead one is replaced by the next New.
var theZygote struct {
	sync.Mutex
	client *zygoteClient
}

// currentZygote is the one there is, which serves; the first one is started.
func currentZygote() (*zygoteClient, error) {
	c, err := zygoteSoon()
	if err == nil {
		err = c.up()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// zygoteSoon is currentZygote without waiting for a new one to serve, see up.
func zygoteSoon() (*zygoteClient, error) {
	theZygote.Lock()
	defer theZygote.Unlock()
	if c := theZygote.client; c != nil && !c.isDead() {
		return c, nil
	}
	c, err := startZygote()
	if err != nil {
		return nil, err
	}
	theZygote.client = c
	return c, nil
}

// up waits until the zygote serves, before which it is sent nothing. The error says why it does not.
func (c *zygoteClient) up() error {
	<-c.started
	return c.startErr
}

// livingZygote is the one there is; nil: there is none yet, or no more.
func livingZygote() *zygoteClient {
	theZygote.Lock()
	defer theZygote.Unlock()
	if c := theZygote.client; c != nil && !c.isDead() {
		return c
	}
	return nil
}

func prepare() error {
	_, err := currentZygote()
	return err
}

// stopZygote ends the zygote and waits for it. Only tests do that: a program's zygote ends with the program.
func stopZygote() {
	theZygote.Lock()
	defer theZygote.Unlock()
	if c := theZygote.client; c != nil {
		_ = c.conn.Close()
		<-c.dead
		theZygote.client = nil
	}
}

func zygoteFailed(op, path string, err error) error {
	return &Error{Stage: "zygote", Op: op, Path: path, Err: err}
}

// startZygote executes this program's own binary again, by a handle that cannot be written through and that stays good when the
// file is replaced or deleted. It takes some milliseconds before it serves.
func startZygote() (_ *zygoteClient, err error) {
	fail := zygoteFailed
	exe, err := openImage()
	if err != nil {
		return nil, fail("open", "/proc/self/exe", err)
	}
	defer func() {
		if err != nil {
			exe.close()
		}
	}()
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fail("open", os.DevNull, err)
	}
	defer unix.Close(null)
	words, err := unix.MemfdCreate("belljar-zygote-stderr", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fail("memfd_create", "", err)
	}
	stderr := os.NewFile(uintptr(words), "zygote stderr")
	ours, theirs, err := wire.Pair()
	if err != nil {
		_ = stderr.Close()
		return nil, fail("socketpair", "", err)
	}
	defer unix.Close(theirs)
	conn, err := wire.NewConn(ours)
	if err != nil {
		_ = unix.Close(ours)
		_ = stderr.Close()
		return nil, fail("socket", "", err)
	}
	p := compileZygote(ownPrecedence())
	if f := tamper.Load(); f != nil {
		(*f)(&request{plan: p})
	}
	var proc *launch.Process
	err = retryBusy(func() (err error) {
		proc, err = launch.Launch(&launch.Request{Plan: p, Files: []int{null, null, words, theirs, exe.fd}, Cgroup: -1, Until: time.Now().Add(launchPatience)})
		return err
	})
	if err != nil {
		_ = conn.Close()
		_ = stderr.Close()
		return nil, stepFailed(p, err, "zygote")
	}
	_ = unix.Close(proc.PIDFD)
	c := &zygoteClient{
		facts: gatherFacts(),
		conn:  conn, pid: proc.PID, stderr: stderr, dead: make(chan struct{}), started: make(chan struct{}),
		waiting: map[uint64]chan *wire.Message{}, exits: map[uint64]chan *wire.Exit{}, told: map[uint64]func([]wire.Event){}, listens: map[uint64]func(uint64, int){}, ends: map[uint64]ending{}, early: map[uint64]bool{},
	}
	go func() {
		c.startErr = c.greet(exe)
		exe.close()
		close(c.started)
		if c.startErr == nil {
			c.receive()
		}
	}()
	return c, nil
}

// greet waits for the zygote's first word, after which nobody is to execute the binary through it any more. If it fails the zygote is gone.
func (c *zygoteClient) greet(exe *ownImage) error {
	hello, err := c.conn.Receive()
	if err != nil || hello.Kind != wire.Ready {
		c.bury(err)
		return zygoteFailed("start", "", c.why)
	}
	if err := exe.shut(); err != nil {
		c.bury(err)
		return zygoteFailed("shut", "/proc/self/exe", err)
	}
	return nil
}

// compileZygote is the plan that turns a clone of this process into the zygote: nothing but the descriptors given, default signals, a
// session of its own so that a terminal's signals do not reach it.
func compileZygote(first precedence) *plan.Plan {
	a := newAssembler()
	a.Stage("zygote")
	var files []plan.Reg
	for _, name := range []string{"stdin", "stdout", "stderr", "socket", "exe"} {
		files = append(files, a.Input(name))
	}
	exe := files[4]
	a.keepOnly(files, 4)
	for sig := 1; sig <= 64; sig++ {
		if sig == int(unix.SIGKILL) || sig == int(unix.SIGSTOP) {
			continue
		}
		a.Call(unix.SYS_RT_SIGACTION, "rt_sigaction", "signals", plan.Int(sig), a.Words("{SIG_DFL}", 0, 0, 0, 0), plan.Null, plan.Int(8))
	}
	a.Call(unix.SYS_SETSID, "setsid", "process")
	a.Call(unix.SYS_CHDIR, "chdir", "/", a.Str("/"))
	a.Call(unix.SYS_RT_SIGPROCMASK, "rt_sigprocmask", "process", plan.Flag(unix.SIG_SETMASK, "SIG_SETMASK"), a.Words("[]", 0), plan.Null, plan.Int(8))
	first.unlikeJobs(a)
	// A thread of this program that waits in the kernel for what does not come keeps its descriptors open when it is killed, so the zygote does not see the end of the socket.
	a.prctl(unix.PR_SET_PDEATHSIG, "PR_SET_PDEATHSIG", plan.Flag(uint64(zygote.ParentDied), "SIGHUP"))
	a.Exec()
	a.Call(unix.SYS_EXECVEAT, "execveat", "/proc/self/exe", plan.R(exe), a.Str(""), a.Strings([]string{zygote.Name}), a.Strings(nil), plan.Flag(unix.AT_EMPTY_PATH, "AT_EMPTY_PATH"))
	return a.Plan()
}

func (c *zygoteClient) hostFacts() *hostFacts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.facts
}

// refreshFacts looks at the host's files again.
func refreshFacts() bool {
	c, err := currentZygote()
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f := *c.facts
	f.lookAtRoot()
	c.facts = &f
	return true
}

func (c *zygoteClient) isDead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// receive hands out what the zygote says until it is gone.
func (c *zygoteClient) receive() {
	label(context.Background(), "belljar", "messages")
	for {
		m, err := c.conn.Receive()
		if err == wire.ErrFiles { // it is the answer to one request that there is no room for
			m.Body, err = wire.Encode(&wire.Answer{Error: &wire.Error{Stage: "zygote", Op: "recvmsg", Path: "descriptors", Errno: unix.EMFILE}})
		}
		if err != nil {
			c.bury(err)
			return
		}
		c.deliver(m)
	}
}

func (c *zygoteClient) deliver(m *wire.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch m.Kind {
	case wire.Reply:
		if ch, ok := c.waiting[m.ID]; ok {
			delete(c.waiting, m.ID)
			ch <- m
			return
		}
		m.CloseFiles()
	case wire.Exited:
		if ch, ok := c.waiting[m.ID]; ok { // it is the reply too
			delete(c.waiting, m.ID)
			delete(c.exits, m.ID)
			ch <- m
			return
		}
		var e wire.Exit
		if ch, ok := c.exits[m.ID]; ok && m.Decode(&e) == nil {
			delete(c.exits, m.ID)
			delete(c.listens, m.ID)
			ch <- &e
		}
	case wire.Listening:
		if f, ok := c.listens[m.ID]; ok && len(m.Files) == 1 {
			f(m.ID, m.Files[0])
			return
		}
		m.CloseFiles()
	case wire.Happened:
		var h wire.Happening
		if told, ok := c.told[m.ID]; ok && m.Decode(&h) == nil {
			told(h.Events)
		}
	case wire.BoxEnded:
		var e wire.Ended
		if m.Decode(&e) == nil {
			if d, ok := c.ends[e.Box]; ok {
				delete(c.ends, e.Box)
				d.come()
			} else {
				c.early[e.Box] = true
			}
		}
	}
}

// bury reaps the zygote and tells everybody who waits for it.
func (c *zygoteClient) bury(cause error) {
	_ = c.conn.Close()
	// Its own shutdown takes two seconds at most.
	ws := unix.WaitStatus(unknownStatus)
	if !waitFor(c.pid, &ws, 5*time.Second) {
		_ = unix.Kill(c.pid, unix.SIGKILL)
		waitFor(c.pid, &ws, time.Second)
	}
	why := c.lastWords(ws)
	if cause != nil && cause != io.EOF && !errors.Is(cause, os.ErrClosed) {
		why = fmt.Errorf("%w: %w", cause, why)
	}
	c.mu.Lock()
	c.gone, c.why = true, why
	for id, ch := range c.waiting {
		delete(c.waiting, id)
		close(ch)
	}
	for id, ch := range c.exits {
		delete(c.exits, id)
		close(ch)
	}
	for id, d := range c.ends {
		delete(c.ends, id)
		d.come()
	}
	c.mu.Unlock()
	c.closeLanes()
	c.mounts.close()
	_ = c.stderr.Close()
	close(c.dead)
}

// unknownStatus is no status that wait(2) has. It stays where there is none to be had, because the host program ignores SIGCHLD.
const unknownStatus = 0xffff0000

func waitFor(pid int, ws *unix.WaitStatus, d time.Duration) bool {
	for end := time.Now().Add(d); ; time.Sleep(time.Millisecond) {
		got, err := launch.Wait(pid, ws, unix.WNOHANG, nil)
		if got == pid || err == unix.ECHILD {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// lastWords says how the zygote ended.
func (c *zygoteClient) lastWords(ws unix.WaitStatus) error {
	how := "ended"
	switch {
	case ws == unknownStatus:
	case ws.Signaled():
		how = "was killed by " + unix.SignalName(ws.Signal())
	case ws.Exited():
		how = fmt.Sprintf("exited with status %d", ws.ExitStatus())
	}
	b := make([]byte, 2048)
	n, _ := c.stderr.ReadAt(b, 0)
	if words := strings.TrimSpace(string(b[:n])); words != "" {
		how += ": " + words
	}
	return fmt.Errorf("the zygote %s: %w", how, ErrClosed)
}

// request is a message on its way.
type request struct {
	kind  wire.Kind
	id    uint64 // 0: the next
	body  any
	plan  *plan.Plan
	files []int
	kept  bool               // of a Create: the zygote has the plan
	base  []byte             // of a Start or a Warm: the plan's base, if the zygote may not have it
	exit  chan *wire.Exit    // where a Start's end is to be told
	told  func([]wire.Event) // who is told what a Watch sees

	listen func(id uint64, fd int) // who gets the listener of a Start's filter
}

// tamper, if set, sees every request before it is sent, and the zygote's own plan. Tests make steps fail with it.
var tamper atomic.Pointer[func(*request)]

// standAlone gives the request a plan that can be changed: one that nobody shares.
func (r *request) standAlone() {
	if req, ok := r.body.(wire.CreateRequest); ok && req.Plan != 0 {
		r.plan, r.kept, req.Plan = r.plan.Clone(), false, 0
		r.body = req
	}
	if r.plan == nil || r.plan.Base == nil {
		return
	}
	r.plan, r.base = r.plan.Whole(), nil
	if req, ok := r.body.(wire.StartRequest); ok {
		req.Base = 0
		r.body = req
	}
}

func (r *request) tampered() {
	if f := tamper.Load(); f != nil {
		r.standAlone()
		(*f)(r)
	}
}

// raw is what goes along with the body.
func (r *request) raw() (raw []byte) {
	if r.plan != nil && !r.kept {
		raw = r.plan.Encode()
	}
	switch r.kind {
	case wire.Start:
		raw = wire.JoinParts(r.base, raw)
	case wire.Warm:
		raw = r.base
	}
	return raw
}

func (c *zygoteClient) idOf(r *request) uint64 {
	if r.id != 0 {
		return r.id
	}
	return c.next.Add(1)
}

// begin sends a request and returns its number and where the reply will be.
func (c *zygoteClient) begin(r request) (uint64, <-chan *wire.Message, error) {
	<-c.started
	r.tampered()
	id := c.idOf(&r)
	reply := make(chan *wire.Message, 1)
	c.mu.Lock()
	if c.gone {
		c.mu.Unlock()
		return 0, nil, &Error{Stage: "zygote", Op: "send", Err: c.why}
	}
	c.waiting[id] = reply
	if r.exit != nil {
		c.exits[id] = r.exit
	}
	if r.told != nil {
		c.told[id] = r.told
	}
	if r.listen != nil {
		c.listens[id] = r.listen
	}
	c.mu.Unlock()
	if err := c.conn.Send(r.kind, id, r.body, r.raw(), r.files); err != nil {
		c.forget(id)
		if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, os.ErrClosed) || errors.Is(err, io.EOF) {
			<-c.dead
			err = c.why
		}
		return 0, nil, &Error{Stage: "zygote", Op: "send", Err: err}
	}
	return id, reply, nil
}

func (c *zygoteClient) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
	delete(c.exits, id)
	delete(c.told, id)
	delete(c.listens, id)
}

// call sends a request and waits for its answer. The caller owns the descriptors that come with it.
func (c *zygoteClient) call(r request) (*wire.Answer, []int, error) {
	_, reply, err := c.begin(r)
	if err != nil {
		return nil, nil, err
	}
	return c.answer(<-reply, r.plan)
}

// answer unpacks a reply; nil stands for a zygote that died.
func (c *zygoteClient) answer(m *wire.Message, p *plan.Plan) (*wire.Answer, []int, error) {
	if m == nil {
		return nil, nil, &Error{Stage: "zygote", Op: "receive", Err: c.why}
	}
	a := &wire.Answer{}
	if err := m.Decode(a); err != nil {
		m.CloseFiles()
		return nil, nil, &Error{Stage: "zygote", Op: "receive", Err: err}
	}
	if a.Error != nil {
		m.CloseFiles()
		return a, nil, fromWire(a.Error, p)
	}
	return a, m.Files, nil
}

// remoteError is the reason of an error that came from the zygote.
type remoteError struct {
	errno       syscall.Errno
	text        string
	unsupported bool
	remedy      string
	limits      []string // fields of cgroup.Limits that it is about
}

func (e *remoteError) Error() string {
	if e.text != "" {
		return e.text
	}
	return e.errno.Error()
}

func (e *remoteError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// Remedy is what to do, where the zygote knew more than the errno says, or "".
func (e *remoteError) Remedy() string { return e.remedy }

func (e *remoteError) Is(target error) bool { return e.unsupported && target == ErrUnsupported }

// fromWire makes the error that a request ended with; a step is looked up in the plan that was sent.
func fromWire(w *wire.Error, p *plan.Plan) error {
	if w.HasStep && p != nil {
		return stepFailed(p, &launch.StepError{Step: w.Step, Errno: w.Errno}, w.Stage)
	}
	var why error = &remoteError{errno: w.Errno, text: w.Text, unsupported: w.Unsupported, remedy: w.Remedy, limits: w.Limits}
	if w.Errno != 0 && w.Text == "" && !w.Unsupported && len(w.Limits) == 0 {
		why = w.Errno
	}
	return &Error{Stage: w.Stage, Op: w.Op, Path: w.Path, Err: why}
}

// stepFailed names the step of a plan that failed.
func stepFailed(p *plan.Plan, err error, stage string) error {
	var step *launch.StepError
	if !errors.As(err, &step) {
		return &Error{Stage: stage, Op: "clone3", Err: err}
	}
	s, ok := p.Step(step.Step)
	if !ok {
		return &Error{Stage: stage, Op: "launch", Err: step.Errno}
	}
	return &Error{Stage: s.Stage, Op: s.Call, Path: s.Object, Err: step.Errno}
}

// launchPatience bounds a set-up, which waits for nothing but the kernel.
const launchPatience = 30 * time.Second
