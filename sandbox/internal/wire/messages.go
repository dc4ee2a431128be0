package wire

import (
	"syscall"
	"time"

	"github.com/belljar-go/belljar/cgroup"
)

// Kind is the type of a message.
type Kind uint8

// Requests of the host program, then what the zygote says.
const (
	Create    Kind = iota + 1 // CreateRequest + plan; answered when PID 1 stands
	Start                     // StartRequest + plan; answered when the program is executed
	Do                        // DoRequest + plan without execve; its outputs come back as descriptors
	Signal                    // SignalRequest
	Freeze                    // FreezeRequest
	Stats                     // BoxRequest or CommandRequest
	CloseBox                  // BoxRequest: ends everything and gives it back
	Reply                     // Answer
	Exited                    // Exit, with the number of its Start
	BoxEnded                  // Ended: PID 1 is gone without having been asked to
	Watch                     // WatchRequest: from now on there are Happenings, with the number of this request
	Unwatch                   // WatchRequest
	Happened                  // Happening
	Listening                 // the listener of a command's filter, with the number of its Start and the one descriptor
	Memory                    // MemoryRequest: what a thread of a command has in memory, to be read through a descriptor
	Ready                     // Hello: the zygote's first word
	Update                    // UpdateRequest
	Lane                      // one descriptor, of another socket for Starts; not answered
	Template                  // TemplateRequest + plan: a root that sandboxes can be begun from
	Warm                      // WarmRequest + base: what the first command needs is to be made ready
	Follow                    // FollowRequest; answered as a Start
	Port                      // one descriptor: where Offerings come from now on, on a line
	Report                    // of launch.Report, about the command of that number, on a line
	Limit                     // LimitNotice, of the host program, on a line: read only when it is needed
)

// Hello tells the host program about the zygote.
type Hello struct {
	PID int
}

// Launch is how a plan is launched.
type Launch struct {
	Mode    uint8  // launch.Mode
	Flags   uint64 // clone flags
	Timeout time.Duration
}

// IDMap says how the new user namespace is mapped.
type IDMap struct {
	// Count ids from 0 are mapped to a range of the host that nobody else has, chosen by the zygote.
	Count uint32
	// UIDs and GIDs are the texts of uid_map and gid_map where Count is 0.
	UIDs, GIDs string
	// DenySetgroups is required where the writer has no privilege (user_namespaces(7)).
	DenySetgroups bool
	// Helper writes the maps through newuidmap(1) and newgidmap(1).
	Helper bool
	// Namespace is the register that receives the user namespace's descriptor; negative: not wanted.
	Namespace int32
}

// Group asks for a cgroup.
type Group struct {
	Limits cgroup.Limits
	// IO: block devices are to be accounted for, to the commands too as far as that goes.
	IO bool
	// Parent is the group that the caller named, see cgroup.Host.ParentAt; "": where Base finds one.
	Parent string
	// Required: the sandbox cannot do without. Otherwise its lack is only noted.
	Required bool
	// Leaf, if not nil, are the limits of a command with none of its own. A leaf with these is made along with the group.
	Leaf *cgroup.Limits
	// Init: PID 1 is in the sandbox's group too, for who finds out about a sandbox by it.
	Init bool
	// Shown: commands are to see their own groups, see Answer.Shown.
	Shown bool
	// Fail, for tests, makes the n-th operation (from 1) fail with Errno.
	Fail  int
	Errno syscall.Errno
}

// CreateRequest makes a sandbox. The plan's first two inputs are PID 1's program and its lifeline.
type CreateRequest struct {
	Name   string
	Launch Launch
	IDMap  *IDMap
	Group  *Group
	// OwnPIDs: the sandbox has a PID namespace, so PID 1's end is everybody's end.
	OwnPIDs bool
	// Regs: the answer is to have the plan's registers.
	Regs bool
	// Work is the name of the directory that an upper layer of the host is worked on in. Then the last two descriptors of the message are no inputs
	// of the plan: the directory above, and the layer, locked. They are kept until nothing of the sandbox is left.
	Work string
	// Ruleset is the register with the Landlock ruleset that commands are restricted by; negative: there is none.
	Ruleset int32
	// Template, unless 0, is the number of a template of which the plan's third input is a clone; Ground, unless 0, of one in whose mount namespace PID 1 starts.
	Template uint64
	Ground   uint64
	// Net: PID 1 starts in a network namespace of the sandbox's own, which the zygote makes, ahead of time if it can.
	Net bool
	// Reuse: that may be given to another sandbox afterwards, if it is as it was and BoxRequest.Kept says so as well.
	Reuse bool
	// Plan, unless 0, is a number by which the plan can be named in later requests, which then need not have it.
	Plan uint64
}

// TemplateRequest makes a template. The plan's inputs are PID 1's program and a lifeline; the root of what walks it is the template.
type TemplateRequest struct {
	Template uint64
	Launch   Launch
	// Sources are what the plan takes of the host by its path. The template is good while they are the same.
	Sources []string
}

// StartRequest starts a command. The plan's inputs are PID 1's descriptor, one `tasks` file for each of Answer.Tasks,
// the sandbox's Landlock ruleset if asked for, then the program's files. The part that follows is that of JoinParts: a plan which other commands
// have for a base too, unless the zygote has been sent it before, and what comes after it.
type StartRequest struct {
	Box    uint64
	Base   uint64 // number of the base; 0: the plan has none
	Name   string
	Launch Launch
	Limits cgroup.Limits // of the command's own leaf
	// OwnMemory and OwnPids are what the command was given beyond the sandbox's limits, which may change.
	OwnMemory int64
	OwnPids   int
	CPU       time.Duration // 0: none
	Wall      time.Duration // 0: none
	Keep      bool          // its leftovers may stay
	Listen    *Listen       // its filter has a listener
	// Files are the program's, by their place in the message, or Null.
	Files   []int16
	Ruleset bool
	// Socket is the base's register of the socket from which a process that was made ahead of time receives them; negative: none can be.
	Socket int32
	// Whole: the caller waits for the end alone. Of a program that ends soon only Exited is told, in place of the Reply.
	Whole bool
	// Offer: the process that is made ready after this command may be used by the host program itself, see Offering.
	Offer bool
	// Line: the last two descriptors of the message are the zygote's end of the sandbox's line, on which it makes offers, and a timer (timerfd_create(2)). The host program sets that for each command
	// which it starts itself to the moment at which the zygote has to go with it at the latest, asked or not.
	Line bool
}

// LimitNotice is sent before a command with limits on time is started by the host program itself, and waits in the line should the zygote have to go with the command without having been asked to.
type LimitNotice struct {
	CPU     time.Duration
	Wall    time.Duration
	Started int64 // nanoseconds of CLOCK_MONOTONIC
}

// FollowRequest has the zygote go with a command that the host program has started, as if it had started it itself. It is sent of every such command that has not ended after a moment.
type FollowRequest struct {
	Box     uint64
	Command uint64
	Sent    bool  // the rest of the plan; otherwise it could not be
	Started int64 // nanoseconds of CLOCK_MONOTONIC
	Start   StartRequest
}

// WarmRequest has a sandbox in which nothing has run yet make ready what its first command needs, should its plan have that base. Fields are as in StartRequest. The base
// follows unless the zygote has it.
type WarmRequest struct {
	Box     uint64
	Base    uint64
	Launch  Launch
	Ruleset bool
	Socket  int32
}

// Listen names registers of a command's plan, see launch.Listen.
type Listen struct{ Socket, Listener int32 }

// MemoryRequest is about a thread of a command, by its ID on the host.
type MemoryRequest struct {
	Command uint64
	TID     int
}

// Null in StartRequest.Files stands for /dev/null, opened for this command alone.
const Null = -1

// BoxRequest is about a sandbox.
type BoxRequest struct {
	Box uint64
	// Command is set where a request is about one command of it.
	Command uint64
	// Kept, with CloseBox: the sandbox has been handed nothing by which its job could have given away something of the sandbox's, and nobody was told where that is.
	Kept bool
}

// DoRequest walks a plan in a sandbox.
type DoRequest struct {
	Box    uint64
	Launch Launch
}

// SignalRequest sends a signal to a command's first process, or kills all of the command, or kills the process of a thread in a sandbox.
type SignalRequest struct {
	Command uint64
	Signal  int
	All     bool
	Box     uint64 // with TID
	TID     int    // by its number where the zygote is; 0: none
}

// FreezeRequest stops or resumes all commands of a sandbox.
type FreezeRequest struct {
	Box    uint64
	Frozen bool
}

// UpdateRequest changes the limits of a sandbox and of all its commands, or nothing.
type UpdateRequest struct {
	Box    uint64
	Limits cgroup.Limits // what changes
	// Leaf are the limits from now on of a command with none of its own.
	Leaf cgroup.Limits
}

// WatchRequest asks for the events of a sandbox's cgroup, or for no more of them.
type WatchRequest struct {
	Box   uint64
	Kinds uint16 // cgroup.EventKind
	Watch uint64 // number of the Watch that an Unwatch ends
}

// Happening is what happened since the last one.
type Happening struct {
	Events []Event
}

// Event is an event of a sandbox's cgroup.
type Event struct {
	Kind  uint16 // cgroup.EventKind
	PID   int    // of the command; 0: the sandbox as a whole
	Count uint64
	Time  time.Time
}

// Answer is the reply to a request.
type Answer struct {
	Box   uint64
	PID   int
	Tasks int  // v1 hierarchies that a command enters by itself
	Group bool // commands have a cgroup
	CPU   bool // CPU time is accounted
	Regs  []int64
	Stats *cgroup.Stats
	Notes []string
	Times []Time
	Error *Error
	// IDBase is the first host id of the sandbox's range.
	IDBase uint32
	// Kinds are the events which a Watch is told.
	Kinds uint16
	// Shown are the hierarchies in which commands may see their own groups, see cgroup.Manager.Shown.
	Shown []string
	// NoTemplate, beside an Error, says that the template which a Create named is not there, or no longer like the host.
	NoTemplate bool
	// NoBase, beside an Error, says that the base which a Start named, or the plan which a Create named, is not there.
	NoBase bool
	// OnLine: the end of a command that a Follow named is told on its line.
	OnLine bool
	// Killed: and it has been killed by request, or with its sandbox.
	Killed bool
	// NotRun: the command has not received anything to do.
	NotRun bool
}

// Time is how long a part of a request took.
type Time struct {
	Name string
	Took time.Duration
}

// Error is an error that crossed the socket.
type Error struct {
	Stage, Op, Path string
	Errno           syscall.Errno
	Text            string // where there is no errno, or more to say than it
	Step            int    // index of the plan's step, see plan.Plan.Step
	HasStep         bool
	Regs            []int64 // of the plan's launch
	Unsupported     bool
	Remedy          string // what to do, where more is known than the errno says
	// Limits are the fields of cgroup.Limits that it is about.
	Limits []string
}

// Exit is how a command ended.
type Exit struct {
	PID                int           // set where this stands for the Reply as well
	Status             uint32        // as of wait(2)
	Wall               time.Duration // since the launch began
	Ended              time.Duration // of CLOCK_MONOTONIC, if only who is told knows when the launch began
	Leaf               time.Duration // before it
	Launch             time.Duration // of Wall, until the program was executed
	Accounts           time.Duration // after it
	User               time.Duration // of the first process and the children it waited for
	System             time.Duration
	MaxRSS             int64 // bytes, of the largest single process
	HasStats           bool
	Stats              cgroup.Stats // of its leaf
	PeakAnon, PeakFile int64        // bytes, as far as sampled
	CPUHit             bool
	WallHit            bool
	Killed             bool // by request
	Lost               bool // not even SIGKILL ended it: it waits for a file system that does not answer
	Leftover           bool // something of it was still alive and has been killed
}

// Ended says that a sandbox's PID 1 is gone.
type Ended struct {
	Box    uint64
	Status uint32
}
