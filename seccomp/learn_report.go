package seccomp

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Report tells people what was learnt: what the policy lets through, which of that Default does not, what of it looks dangerous and
// why, what the program asked for and was refused, and what was added unseen.
func (l *Learned) Report() string {
	uses := l.Uses()
	var b strings.Builder
	calls, total := map[string]bool{}, uint64(0)
	for _, u := range uses {
		calls[u.Call] = true
		total += u.Count
	}
	fmt.Fprintf(&b, "Learnt from %d %s: %d different calls, made %d times.\n", l.Runs(), plural(l.Runs(), "run"), len(calls), total)

	section := func(title string, lines []string) {
		if len(lines) > 0 {
			b.WriteString("\n" + title + "\n")
			for _, line := range lines {
				b.WriteString("  " + line + "\n")
			}
		}
	}
	var beyond, dangers, refused, allowed []string
	inDefault, err := Default().Compile()
	for _, u := range uses {
		counted := fmt.Sprintf("%s: %d %s", u, u.Count, plural(int(u.Count), "time"))
		why, dangerous := u.danger()
		if dangerous {
			text := counted
			if !u.Allowed() {
				text += ", refused"
			}
			dangers = append(dangers, text+". "+why)
		}
		if !u.Allowed() {
			refused = append(refused, counted+", with "+u.Answer.String())
			continue
		}
		allowed = append(allowed, counted)
		if err == nil && inDefault.Decide(u.First) != Allow {
			beyond = append(beyond, counted)
		}
	}
	section("Looks dangerous:", dangers)
	section("Let through, although the default policy does not:", beyond)
	section("Asked for and refused; if the program failed for it, learn again with a base that allows it:", refused)
	section("Let through:", allowed)
	section("Let through unseen, because it differs from what was seen only by libc, data or timing:", l.unseen())
	return b.String()
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}

// unseen names what companions add.
func (l *Learned) unseen() []string {
	if l.exact {
		return nil
	}
	seen := map[useKey]bool{}
	for _, u := range l.Uses() {
		seen[useKey{u.Call, u.Class}] = true
	}
	var words []string
	for _, u := range l.companions() {
		if !seen[useKey{u.Call, u.Class}] {
			words = append(words, u.String())
		}
	}
	slices.Sort(words)
	if words = slices.Compact(words); len(words) == 0 {
		return nil
	}
	return []string{strings.Join(words, " ")}
}

// danger tells why a use deserves a second look.
func (u Use) danger() (why string, is bool) {
	c := u.First
	switch u.Call {
	case "mmap", "mprotect", "pkey_mprotect":
		if c.Args[2]&(protWrite|protExec) == protWrite|protExec {
			return "Memory that is written and executed at once: a bug in the program becomes code of the attacker's. Just-in-time compilers do it.", true
		}
		return "", false
	case "socket", "socketpair":
		switch family := uint32(c.Args[0]); {
		case family == afInet || family == afInet6:
			return "It reaches whatever network the sandbox is given.", true
		case family != afUnix:
			return "A protocol outside AF_UNIX and the internet's: parts of the kernel that are little tried by hostile programs.", true
		}
		return "", false
	case "clone", "unshare", "setns":
		if c.Args[0]&cloneNamespaces != 0 || u.Call != "clone" {
			return "A new user namespace would give capabilities over the kernel's less tried parts.", true
		}
		return "", false
	case "ioctl":
		if request := uint32(c.Args[1]); request == tiocsti || request == tioclinux {
			return "It types into the terminal that the program was started from (CVE-2017-5226, CVE-2023-1523).", true
		}
		return "", false
	case "personality":
		return "It can switch off address space randomisation.", c.Args[0] != askPersona && c.Args[0] != perLinux
	case "prctl":
		return "It keeps privileges over a change of user, or lets another process trace this one.", slices.Contains([]string{"PR_SET_KEEPCAPS", "PR_CAP_AMBIENT", "PR_SET_PTRACER"}, u.Class)
	case "memfd_create":
		return "Files without a name can be executed where nothing writable can.", true
	}
	for _, g := range deniedGroups {
		if slices.Contains(g.names, u.Call) {
			return g.title + ". " + g.why, true
		}
	}
	if strings.HasPrefix(u.Call, "call ") {
		return "A number this package knows no call for.", true
	}
	return "", false
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
