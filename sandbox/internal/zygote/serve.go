//go:build linux

package zygote

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/pause"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// zygote is the state of the process.
type zygote struct {
	conn   *wire.Conn
	image  int // memfd of PID 1's program
	groups groups
	spares spares
	nets   nets
	deaths deaths

	traffic traffic

	bases planStore // that plans of commands begin with
	plans planStore // of sandboxes, that others may be made by

	templates templates

	handlers sync.WaitGroup // requests under way, and what they have left to be done

	mu       sync.Mutex
	boxes    map[uint64]*box
	commands map[uint64]*command
	launches map[*launch.Handle]bool // of sandboxes that are being set up
	leaving  bool                    // the host program is gone
	lastBox  atomic.Uint64

	armed     map[uint64]*armed // commands that the host program may start, or has started
	lastArmed atomic.Uint64
	reports   reports
	telling   sync.Once
	told      [2]int // a pipe with the numbers of those whose reporters are done
	tellErr   error
	listening atomic.Int32 // threads that wait for one of them
}

// serve runs the zygote until the host program is gone.
func serve() {
	settleInherited()
	// From here on no process may look into this one's memory, which launched processes share until their exec, or have parts of.
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	_ = os.WriteFile("/proc/self/comm", []byte(Name), 0)
	unix.Umask(0)
	_ = os.Chdir("/")
	debug.SetGCPercent(400)
	// A thread of the runtime that waits in the kernel for a moment is not to keep others from working.
	runtime.GOMAXPROCS(max(leastProcs, runtime.GOMAXPROCS(0)))
	ignoreChildren()
	died := make(chan os.Signal, 1)
	signal.Notify(died, ParentDied)

	conn, err := wire.NewBlockingConn(SocketFD)
	if err != nil {
		fatal(err)
	}
	z := &zygote{conn: conn, boxes: map[uint64]*box{}, commands: map[uint64]*command{}, bases: planStore{most: 128}, plans: planStore{most: 16}}
	z.nets.traffic, z.nets.witness.where = &z.traffic, z.groups.noting
	z.groups.begun = time.Now()
	z.groups.host = os.Getppid() // it waits for this process to be ready, so it is still there
	if z.image, err = imageFD(); err != nil {
		fatal(err)
	}
	if err := launch.ReserveSlots(); err != nil {
		fatal(err)
	}
	if err := conn.Send(wire.Ready, 0, wire.Hello{PID: os.Getpid()}, nil, nil); err != nil {
		fatal(err)
	}
	go launch.MakeSeed()
	go func() {
		for range time.Tick(time.Second) {
			launch.ReapStrangers()
		}
	}()
	select {
	case <-z.listen(conn, listeners, nil):
	case <-died:
	}
	z.shutdown()
}

// ParentDied is the signal that this process gets when the thread ends that has cloned it, which is one of the host program's that never does by itself. Where that has given up privileges which this process
// has, it may not send it (kill_ok_by_cred in kernel/signal.c).
const ParentDied = unix.SIGHUP

// leastProcs is how much Go code may run at once however few CPUs there are.
const leastProcs = 4

// ignoreChildren has the end of a child wake only who waits for it: with the handler that the Go runtime installs for every signal it wakes any of its threads besides. It is the default action, under
// which children are still to be waited for, and not SIG_IGN.
func ignoreChildren() {
	var act [4]uint64 // struct sigaction of the kernel: SIG_DFL
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(unsafe.Pointer(&act)), 0, 8, 0, 0)
}

const (
	// listeners is how many threads wait for requests at least. More of them come about when there are more requests at once than this, and go.
	listeners = 3
	// laneListeners is the same for a lane, which has one request at a time: one thread may still be clearing away what the last one has left.
	laneListeners = 2
)

// listen takes requests until the other end is gone, which closes the returned channel. Each listener handles what it has taken itself: a request wakes one thread and no other. When
// all of them have ended over is called, unless it is nil.
func (z *zygote) listen(conn *wire.Conn, least int32, over func()) (gone <-chan struct{}) {
	end := make(chan struct{})
	var once sync.Once
	var all sync.WaitGroup
	var waiting atomic.Int32 // threads
	var listener func()
	listener = func() {
		defer all.Done()
		for {
			m, err := conn.Receive()
			if err == wire.ErrFiles {
				refuse(conn, m)
				continue
			}
			if err != nil {
				once.Do(func() { close(end) })
				return
			}
			z.handlers.Add(1)
			if waiting.Add(-1) == 0 {
				waiting.Add(1)
				all.Add(1)
				go listener() // there always is one
			}
			z.handle(conn, m)
			z.handlers.Done()
			if waiting.Add(1) > least {
				waiting.Add(-1)
				return
			}
		}
	}
	waiting.Store(least)
	all.Add(int(least))
	for range least {
		go listener()
	}
	if over != nil {
		go func() { all.Wait(); over() }()
	}
	return end
}

// refuse answers a request that has come without its descriptors.
func refuse(conn *wire.Conn, m *wire.Message) {
	if m.Kind != wire.Lane { // who sent that sees that the other end is closed
		_ = conn.Send(wire.Reply, m.ID, &wire.Answer{Error: toWire(&stageError{"zygote", "recvmsg", "descriptors", unix.EMFILE})}, nil, nil)
	}
}

// lane takes Starts from another socket.
func (z *zygote) lane(m *wire.Message) {
	if len(m.Files) != 1 {
		return
	}
	conn, err := wire.NewBlockingConn(m.Files[0])
	if err != nil {
		return
	}
	m.Files = nil
	z.listen(conn, laneListeners, func() { _ = conn.Close() })
}

func fatal(err error) {
	fmt.Fprintf(os.Stderr, "belljar zygote: %v\n", err)
	os.Exit(1)
}

// imageFD returns PID 1's program as a sealed memfd. Nobody may read it, so the kernel makes the process that
// executes it non-dumpable (would_dump in fs/exec.c), before its own first instruction does so again.
func imageFD() (int, error) {
	img := pause.Image()
	if img == nil {
		return -1, unix.ENOSYS
	}
	fd, err := unix.MemfdCreate("belljar-pause", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if err == unix.EINVAL { // MFD_EXEC is of Linux 6.3
		fd, err = unix.MemfdCreate("belljar-pause", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	if _, err := unix.Write(fd, img); err != nil {
		return -1, os.NewSyscallError("write", err)
	}
	if err := unix.Fchmod(fd, 0o111); err != nil {
		return -1, os.NewSyscallError("fchmod", err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	// A writable description would make execve fail with ETXTBSY.
	ro, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("open", err)
	}
	return ro, unix.Close(fd)
}

// handle answers one request.
func (z *zygote) handle(conn *wire.Conn, m *wire.Message) {
	if m.Kind == wire.CloseBox {
		defer z.nets.calm()
	}
	defer z.traffic.begin()()
	defer m.CloseFiles()
	switch m.Kind {
	case wire.Start:
		z.handleStart(conn, m)
		return
	case wire.Lane:
		z.lane(m)
		return
	case wire.Create:
		z.handleCreate(conn, m)
		return
	case wire.Follow:
		z.followArmed(conn, m)
		return
	}
	answer, files, err := z.dispatch(m)
	if answer == nil {
		answer = &wire.Answer{}
	}
	if err != nil {
		answer.Error = toWire(err)
	}
	_ = conn.Send(wire.Reply, m.ID, answer, nil, files)
	for _, fd := range files {
		_ = unix.Close(fd)
	}
}

// handleCreate makes a sandbox. What has served that only is given back when it has been answered.
func (z *zygote) handleCreate(conn *wire.Conn, m *wire.Message) {
	var spent []int
	answer, err := z.create(m, &spent)
	if answer == nil {
		answer = &wire.Answer{}
	}
	if err != nil {
		answer.Error = toWire(err)
	}
	_ = conn.Send(wire.Reply, m.ID, answer, nil, nil)
	closeFDs(spent)
}

// handleStart starts a command and follows it to its end.
func (z *zygote) handleStart(conn *wire.Conn, m *wire.Message) {
	c, answer, err := z.start(m)
	if answer == nil {
		answer = &wire.Answer{}
	}
	whole := err == nil && c.req.Whole
	if err != nil {
		answer.Error = toWire(err)
	}
	if !whole {
		_ = conn.Send(wire.Reply, m.ID, answer, nil, nil)
		answer = nil
	}
	// The program alone has its files now: whoever reads from it sees the end when it ends.
	m.CloseFiles()
	if err == nil {
		z.follow(c, conn, answer)
	}
}

func (z *zygote) dispatch(m *wire.Message) (*wire.Answer, []int, error) {
	switch m.Kind {
	case wire.Template:
		return nil, nil, z.makeTemplate(m)
	case wire.Warm:
		return z.warm(m)
	case wire.Do:
		return z.do(m)
	case wire.Signal:
		return nil, nil, z.signal(m)
	case wire.Freeze:
		return nil, nil, z.freeze(m)
	case wire.Update:
		return nil, nil, z.update(m)
	case wire.Stats:
		a, err := z.stats(m)
		return a, nil, err
	case wire.Watch:
		a, err := z.watchEvents(m)
		return a, nil, err
	case wire.Unwatch:
		return nil, nil, z.unwatchEvents(m)
	case wire.Memory:
		return z.memory(m)
	case wire.CloseBox:
		a, err := z.closeBox(m)
		return a, nil, err
	default:
		return nil, nil, wire.ErrProtocol
	}
}

// box finds a sandbox that still stands.
func (z *zygote) box(id uint64) (*box, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	b, ok := z.boxes[id]
	if !ok {
		return nil, errGone
	}
	return b, nil
}

// groupedBox finds a sandbox that still stands and has a cgroup.
func (z *zygote) groupedBox(id uint64) (*box, error) {
	b, err := z.box(id)
	if err == nil && b.group == nil {
		return nil, errNoGroup
	}
	return b, err
}

var errGone = errors.New("no such sandbox")

// shutdown ends every sandbox: the host program is gone, or has closed the socket.
func (z *zygote) shutdown() {
	z.endLaunches()
	done := make(chan struct{})
	go func() {
		z.endAll()
		z.handlers.Wait()
		z.endAll() // what was being made when the host program went
		z.groups.close()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Second): // what still hangs is swept by the next host program
	}
}

// launching has a set-up end with the host program, whatever it waits for, until the returned function is called.
func (z *zygote) launching(h *launch.Handle) (done func()) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.launches == nil {
		z.launches = map[*launch.Handle]bool{}
	}
	z.launches[h] = true
	if z.leaving {
		h.Kill()
	}
	return func() {
		z.mu.Lock()
		defer z.mu.Unlock()
		delete(z.launches, h)
	}
}

func (z *zygote) endLaunches() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.leaving = true
	for h := range z.launches {
		h.Kill()
	}
}

func (z *zygote) endAll() {
	z.mu.Lock()
	boxes := make([]*box, 0, len(z.boxes))
	for _, b := range z.boxes {
		boxes = append(boxes, b)
	}
	z.mu.Unlock()
	for _, b := range boxes {
		b.kill()
	}
	var wg sync.WaitGroup
	for _, b := range boxes {
		wg.Add(1)
		go func() { defer wg.Done(); _ = z.end(b) }()
	}
	wg.Wait()
}
