//go:build linux

package launch

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// Report is how the end of a process that somebody else has used (Ready.Arm) is told to him without a turn of this process's Go runtime, which would take longer than such a program
// runs: a thread of this process walks a plan, as launched processes do, in which it waits for the end, reads files as they are then, and sends what it has found.
//
// The thread shares memory and descriptors with this process, has all signals blocked, and no stack. What it does not understand it leaves to others: it sends nothing where the file that tells whether anybody is
// left says so, where it is told to stop, or where a timer runs out that was set by whoever used the process, who is late then to see to it.
type Report struct {
	plan    *plan.Plan
	rooms   []int
	polls   int64 // offsets of its data: struct pollfd[3]
	iov     int64 // struct iovec[3]
	head    int64
	status  int64
	usage   int64
	lengths int64
	id      int64
	waited  plan.Reg
	sent    plan.Reg
}

// ReportFile is a file that is read.
type ReportFile struct{ Room int }

// Alone is the file by which one knows that nobody is left: the four bytes at an offset that is a multiple of four.
type Alone struct {
	File, At int
	Word     uint32
}

// What a Report sends after the head that it was given, in the machine's order: the status of wait(2) as 32 bits, 32 bits of nothing, the time of CLOCK_MONOTONIC as two
// words, struct rusage, 32 bits for each file's length, negative for one that could not be read, padded to eight bytes; then two words of the process itself: the step it was at, and what error ended its walk;
// then the files' rooms.
const (
	reportStatus = 8
	reportTime   = 16
	rusageSize   = int(unsafe.Sizeof(unix.Rusage{}))
)

func lengthsSize(files int) int { return (4*files + 7) &^ 7 }

// NewReport makes one with a head of that size, for any number of processes.
func NewReport(head int, files []ReportFile, alone Alone) *Report {
	r := &Report{}
	b := plan.NewBuilder()
	b.Stage("report")
	in := func(name string) plan.Reg { return b.Input(name) }
	pid, line, told := in("process"), in("line"), in("told")
	regs := make([]plan.Reg, len(files))
	for i := range files {
		regs[i] = in(fmt.Sprintf("file %d", i))
		r.rooms = append(r.rooms, files[i].Room)
	}
	room := func(n int) plan.Arg { return b.Bytes(make([]byte, n), "") }

	polls := room(24)
	word, got := room(8), room(8)
	r.head = room((head + 7) &^ 7).Value // one after the other from here on
	status := room(reportStatus)
	now := room(reportTime)
	usage := room(rusageSize)
	lengths := room(lengthsSize(len(files)))
	var rooms []plan.Arg
	for _, n := range r.rooms {
		rooms = append(rooms, room((n+7)&^7))
	}
	texts := int64(0)
	for i := range rooms {
		texts += int64((r.rooms[i] + 7) &^ 7)
	}
	// The head ends where the status begins.
	pad := int64((head+7)&^7 - head)
	r.head += pad
	iov := room(48)
	msg := room(56)
	id := room(8)
	r.polls, r.iov, r.status, r.usage, r.lengths, r.id = polls.Value, iov.Value, status.Value, usage.Value, lengths.Value, id.Value

	p := b.Plan()
	binary.NativeEndian.PutUint64(p.Data[iov.Value+8:], uint64(lengths.Value+int64(lengthsSize(len(files)))-r.head))
	binary.NativeEndian.PutUint64(p.Data[iov.Value+24:], 16)
	binary.NativeEndian.PutUint64(p.Data[iov.Value+40:], uint64(texts))
	binary.NativeEndian.PutUint64(p.Data[msg.Value+24:], 3)
	relocs := []plan.Reloc{{At: uint32(iov.Value), To: uint32(r.head)}, {At: uint32(msg.Value + 16), To: uint32(iov.Value)}}
	if len(rooms) > 0 {
		relocs = append(relocs, plan.Reloc{At: uint32(iov.Value + 32), To: uint32(rooms[0].Value)})
	}
	for i := range files {
		binary.NativeEndian.PutUint32(p.Data[lengths.Value+int64(4*i):], ^uint32(0))
	}
	at := func(a plan.Arg, off int) plan.Arg { a.Value += int64(off); return a }

	r.waited, r.sent = b.Reg("waited"), b.Reg("sent")
	b.Call(unix.SYS_PPOLL, "ppoll", "process", polls, plan.Int(3), plan.Null, plan.Null, plan.Int(8)).Tolerate()
	var ends, tells []int // steps that may have the others be passed over, all or but the last
	equal := func(a, want plan.Arg, list *[]int) {
		*list = append(*list, len(p.Child))
		b.Call(unix.SYS_FUTEX, "futex", "word", a, plan.Flag(futexCmpRequeue, "CMP_REQUEUE"), plan.Zero, plan.Zero, word, want).Tolerate()
	}
	equal(at(polls, 12), plan.Int(unix.POLLIN), &ends) // to be stopped counts for more than the end, which others then see to
	// Where the process has this one trace it, wait4(2) would tell of its stops as well.
	equal(at(polls, 4), plan.Int(unix.POLLIN|unix.POLLIN<<16), &tells)
	tells = append(tells, len(p.Child))
	b.Call(unix.SYS_WAIT4, "wait4", "process", plan.R(pid), status, plan.Int(unix.WALL|unix.WNOHANG), usage).To(r.waited).Into(got, "").Tolerate()
	equal(got, plan.R(pid), &tells)
	b.Call(unix.SYS_CLOCK_GETTIME, "clock_gettime", "now", plan.Int(unix.CLOCK_MONOTONIC), now)
	read := func(i int) *plan.Step {
		return b.Call(unix.SYS_PREAD64, "pread64", "file", plan.R(regs[i]), rooms[i], plan.Int(r.rooms[i]), plan.Zero).Into(at(lengths, 4*i), "").Tolerate()
	}
	if alone.File >= 0 {
		tells = append(tells, len(p.Child))
		read(alone.File)
		equal(at(rooms[alone.File], alone.At), plan.Int(alone.Word), &tells)
	}
	for i := range files {
		if i != alone.File {
			read(i)
		}
	}
	b.Call(unix.SYS_SENDMSG, "sendmsg", "line", plan.R(line), msg, plan.Int(unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)).To(r.sent).Tolerate()
	tell := len(p.Child)
	b.Call(unix.SYS_WRITE, "write", "told", plan.R(told), id, plan.Int(8)).Tolerate()
	for _, i := range ends {
		p.Child[i].Skip = len(p.Child) - i - 1
	}
	for _, i := range tells {
		p.Child[i].Skip = tell - i - 1
	}
	p.Relocs = append(p.Relocs, relocs...)
	r.plan = p
	return r
}

// Size is the length of a report without its head.
func (r *Report) Size() int {
	n := reportStatus + reportTime + rusageSize + lengthsSize(len(r.rooms)) + 16
	for _, room := range r.rooms {
		n += (room + 7) &^ 7
	}
	return n
}

// futexCmpRequeue with nobody to wake or to requeue compares a word in memory and answers EAGAIN if it is another (futex(2)).
const futexCmpRequeue = 4 | 128 // FUTEX_CMP_REQUEUE, FUTEX_PRIVATE_FLAG

// Reporter is the thread of one report.
type Reporter struct {
	r *Report
	a *arena
}

// Start has a thread wait for the end of an armed process. It sends the report, with that head, to line and writes id to told when it is done; both must not block. It stops as soon as
// stop can be read from, and is done when timer can. The descriptors stay open until it is gone.
func (r *Report) Start(rd *Ready, head []byte, id uint64, line, told, stop, timer int, files []int) (*Reporter, error) {
	if len(files) != len(r.rooms) {
		return nil, unix.EINVAL
	}
	a, err := newArenaIn(r.plan, grabLittle)
	if err != nil {
		return nil, err
	}
	for i, v := range append([]int{rd.PID(), line, told}, files...) {
		*a.reg(r.plan.Inputs[i]) = int64(v)
	}
	data := a.mem[a.dataAt:]
	for i, fd := range []int{rd.l.descriptor(), stop, timer} {
		binary.NativeEndian.PutUint32(data[r.polls+int64(8*i):], uint32(fd))
		binary.NativeEndian.PutUint32(data[r.polls+int64(8*i+4):], unix.POLLIN) // and no revents
	}
	copy(data[r.head:r.status], head)
	binary.NativeEndian.PutUint64(data[r.id:], id)
	binary.NativeEndian.PutUint64(data[r.iov+16:], uint64(uintptr(unsafe.Pointer(&rd.l.ctl.progress))))
	c := a.ctl
	c.clone = cloneArgs{
		flags: unix.CLONE_VM | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_SYSVSEM |
			unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID,
		parentTID: uint64(uintptr(unsafe.Pointer(&c.pid))),
		childTID:  uint64(uintptr(unsafe.Pointer(&c.done))),
	}
	if tid := cloneWalk(c); tid < 0 {
		a.done()
		return nil, syscall.Errno(-tid)
	}
	return &Reporter{r, a}, nil
}

// Await returns when the thread is gone, which is a moment after it has been told to stop, or has written its id.
func (p *Reporter) Await() {
	for atomic.LoadUint32(&p.a.ctl.done) != 0 {
		futexWait(&p.a.ctl.done, 1, 10*time.Millisecond)
	}
}

// Waited tells, once the thread is gone or has written its id, whether it has waited for the process, and how that ended.
func (p *Reporter) Waited() (ws unix.WaitStatus, ru unix.Rusage, ok bool) {
	if atomic.LoadInt64(p.a.reg(p.r.waited)) <= 0 {
		return 0, ru, false
	}
	data := p.a.mem[p.a.dataAt:]
	ws = unix.WaitStatus(binary.NativeEndian.Uint32(data[p.r.status:]))
	return ws, *(*unix.Rusage)(unsafe.Pointer(&data[p.r.usage])), true
}

// Early tells, as soon as Waited does, that it has not waited for the process: the timer has run out, or the process has ended and another one that traces it has yet to be told.
func (p *Reporter) Early() bool { return atomic.LoadInt64(p.a.reg(p.r.waited)) <= 0 }

// Sent tells, as soon as Waited does, whether the report has been sent.
func (p *Reporter) Sent() bool { return atomic.LoadInt64(p.a.reg(p.r.sent)) > 0 }

// Close gives back what the thread needed, which must be gone.
func (p *Reporter) Close() { p.a.release() }

// Reported is what a report says.
type Reported struct {
	Status   unix.WaitStatus
	Now      time.Duration // of CLOCK_MONOTONIC
	Usage    unix.Rusage
	Progress int // step that the process was at when it called execve or ended
	Errno    syscall.Errno
	Texts    [][]byte // of the files, in b; nil: it could not be read
}

// ParseReport reads a report without its head about files of these rooms.
func ParseReport(b []byte, rooms []int) (r Reported, ok bool) {
	fixed := reportStatus + reportTime + rusageSize + lengthsSize(len(rooms)) + 16
	if len(b) != (&Report{rooms: rooms}).Size() {
		return r, false
	}
	num := func(off int) int64 { return int64(binary.NativeEndian.Uint64(b[off:])) }
	r.Status = unix.WaitStatus(binary.NativeEndian.Uint32(b))
	r.Now = time.Duration(num(reportStatus))*time.Second + time.Duration(num(reportStatus+8))
	at := reportStatus + reportTime
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&r.Usage)), rusageSize), b[at:])
	lengths := b[at+rusageSize:]
	at += rusageSize + lengthsSize(len(rooms))
	r.Progress, r.Errno = int(num(at)), syscall.Errno(num(at+8))
	text := b[fixed:]
	r.Texts = make([][]byte, len(rooms))
	for i, n := range rooms {
		if l := int(int32(binary.NativeEndian.Uint32(lengths[4*i:]))); l >= 0 && l <= n {
			r.Texts[i] = text[:l:l]
		}
		text = text[(n+7)&^7:]
	}
	return r, true
}
