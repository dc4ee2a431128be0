package sandbox

// landlockMode is how much a sandbox wants of Landlock.
type landlockMode uint8

const (
	landlockAuto     landlockMode = iota // where it can be had
	landlockRequired                     // or New fails
	landlockOff
)

// WithLandlock makes a requirement of what is otherwise done where the kernel can: to have Landlock, a part of the kernel that
// knows nothing of mounts, check a second time what files commands open (landlock(7)). They may read and execute what is in the sandbox's root,
// and write to what is writable in it; the files of [Cmd] as they were opened, and what is below directories among those. It needs Linux 5.19. What this kernel can is in the
// Report: since 6.2 truncation is checked, since 6.10 ioctls of devices outside /dev are refused, and since 6.12 a command in the host's PID
// namespace can signal none but its own processes, and one in the host's network namespace connects to no abstract Unix socket but its own
// (CVE-2020-15257). The network is otherwise left to the network namespace.
//
// Nothing of it goes to the audit log, which is the host's, and which a job could fill: of the sandbox's own rules the kernel logs nothing after an exec, and
// rulesets that jobs make for themselves are kept from it (since 6.15, LANDLOCK_RESTRICT_SELF_LOG_SUBDOMAINS_OFF). Who wants denied calls in it
// sets seccomp.FlagLog in the policy.
//
// Commands of one sandbox cannot trace each other, or read in /proc what takes the right to. No command can change mounts, nor open POSIX message
// queues of the host's: a sandbox with CAP_SYS_ADMIN or with WithHost(namespace.IPC) has no Landlock unless it asks for both, and one with the host's mount
// namespace cannot have it.
func WithLandlock() Option {
	return softly(landlockOption("WithLandlock", landlockRequired))
}

// WithoutLandlock leaves Landlock out, for commands that have to trace those of another command of the sandbox.
func WithoutLandlock() Option { return landlockOption("WithoutLandlock", landlockOff) }

func landlockOption(label string, mode landlockMode) option {
	o := single(label, "", mode, "", func(s *spec, m landlockMode) { s.landlock = m })
	o.key = "WithLandlock"
	return o
}
