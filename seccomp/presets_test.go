package seccomp

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write PRESETS.md, and golden files of presets that have none")

func allGroups() []group {
	return slices.Concat(allowedGroups, []group{argumentGroup, lackingGroup}, deniedGroups)
}

// fate says what a policy does with a call, in the words of the golden files.
func fate(p Policy, name string) string {
	var words []string
	for _, r := range p.Rules {
		if slices.Contains(r.Names, name) {
			words = append(words, strings.Replace(r.String(), " "+strings.Join(r.Names, " "), "", 1))
			if len(r.Args) == 0 {
				return strings.Join(words, "; ")
			}
		}
	}
	return strings.Join(append(words, p.Default.String()), "; ")
}

// golden is a preset call by call.
func golden(p Policy) string {
	var b strings.Builder
	fmt.Fprintf(&b, "unknown numbers: %s\n", p.unknown())
	for _, name := range everyName() {
		fmt.Fprintf(&b, "%s: %s\n", name, fate(p, name))
	}
	return b.String()
}

var everyName = sync.OnceValue(func() []string {
	names := append(AMD64.Names(), ARM64.Names()...)
	slices.Sort(names)
	return slices.Compact(names)
})

// TestPresetsNeverChange: a golden file that stands is never written again. Who wants to change a preset makes the next
// version of it, with a file of its own.
func TestPresetsNeverChange(t *testing.T) {
	for _, p := range presets {
		t.Run(p.String(), func(t *testing.T) {
			file := "testdata/presets/" + p.String() + ".txt"
			want, err := os.ReadFile(file)
			if errors.Is(err, fs.ErrNotExist) && *update {
				require.NoError(t, os.WriteFile(file, []byte(golden(p.policy())), 0o644))
				return
			}
			require.NoError(t, err)
			assert.Equal(t, string(want), golden(p.policy()), "a preset's version never changes: make the next one")
		})
	}
}

var olderPresets = []string{"strict-v1"}

func TestPreset(t *testing.T) {
	for _, name := range Presets() {
		versioned, err := Preset(name)
		require.NoError(t, err)
		short, _, _ := strings.Cut(name, "-v")
		newest, err := Preset(short)
		require.NoError(t, err)
		if !slices.Contains(olderPresets, name) {
			assert.Equal(t, versioned.String(), newest.String())
		} else {
			assert.NotEqual(t, versioned.String(), newest.String())
		}
		require.NoError(t, versioned.Validate())
		// No preset lets through what must never pass, or answers a number nobody knows with anything but ENOSYS.
		assert.Equal(t, noSuchCall, versioned.unknown())
		assert.Equal(t, "errno 38", fate(versioned, "clone3"))
		for _, call := range slices.Concat(refused, refusedAMD64) {
			assert.Equal(t, "errno 1", fate(versioned, call), "%s: %s", name, call)
		}
	}
	_, err := Preset("default-v0")
	require.ErrorIs(t, err, ErrInvalid)
	require.ErrorContains(t, err, "strict-v1")
}

// TestPresetsDocument holds PRESETS.md to the code.
func TestPresetsDocument(t *testing.T) {
	if *update {
		require.NoError(t, os.WriteFile("PRESETS.md", []byte(document()), 0o644))
	}
	text, err := os.ReadFile("PRESETS.md")
	require.NoError(t, err)
	assert.Equal(t, document(), string(text), "go test -run TestPresetsDocument -update")
}

func document() string {
	var b strings.Builder
	b.WriteString(`# What the presets do with each call

Made from the groups in groups.go and the presets in presets.go by ` + "`go test -run TestPresetsDocument -update`" + `; a test holds it to them.

- default: ordinary programs, compilers, interpreters, servers. What a sandbox gets unless it asks for another.
- strict: one process that computes, with threads; files for reading only, no socket that leads anywhere.
- build: compilers, interpreters and build systems; default without the internet.
- network: clients and servers; default and the listing of interfaces, addresses and routes.

What the tests run under each, as the machine has it:

` + claims() + `
"+" passes, "EPERM" is refused, "ENOSYS" answers as a kernel without the call; "if" is by arguments, listed at the end.
Numbers that are no call here answer ENOSYS. Calls by another architecture's entry kill the process.
`)
	for _, g := range allGroups() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| call |", g.title, g.why)
		for _, p := range presets {
			fmt.Fprintf(&b, " %s |", p)
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(presets)) + "\n")
		for _, name := range g.names {
			fmt.Fprintf(&b, "| %s |", name)
			for _, p := range presets {
				fmt.Fprintf(&b, " %s |", sign(fate(p.policy(), name)))
			}
			b.WriteString("\n")
		}
	}
	b.WriteString("\n## Conditions\n\nThe first that holds decides; arguments count from 0.\n")
	for _, p := range presets {
		fmt.Fprintf(&b, "\n### %s\n\n", p)
		policy := p.policy()
		for _, name := range everyName() {
			if f := fate(policy, name); sign(f) == "if" {
				fmt.Fprintf(&b, "- %s: %s\n", name, f)
			}
		}
	}
	return b.String()
}

// claims is the table of what programs run under.
func claims() string {
	newest := slices.DeleteFunc(Presets(), func(name string) bool { return slices.Contains(olderPresets, name) })
	var b strings.Builder
	b.WriteString("| program |")
	for _, name := range newest {
		b.WriteString(" " + name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(newest)) + "\n")
	for _, p := range programsRun {
		fmt.Fprintf(&b, "| %s |", p.what)
		for _, name := range newest {
			short, _, _ := strings.Cut(name, "-v")
			if slices.Contains(p.under, short) {
				b.WriteString(" yes |")
			} else {
				b.WriteString(" |")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func sign(fate string) string {
	switch fate {
	case "allow":
		return "+"
	case "errno 1":
		return "EPERM"
	case "errno 38":
		return "ENOSYS"
	}
	return "if"
}

// TestStrict looks at what is particular to it; the golden file has the rest.
func TestStrict(t *testing.T) {
	decide := func(name string, args ...uint64) Action {
		d := callData{number: mustNumber(t, name), arch: uint32(NativeArch())}
		copy(d.args[:], args)
		return meaning(Strict(), NativeArch(), d)
	}
	const atCwd = 1<<64 - 100
	assert.Equal(t, Allow, decide("openat", atCwd, 0, 0x80000)) // O_RDONLY|O_CLOEXEC
	for _, flags := range []uint64{1, 2, 0x40, 0x200, 0x410002, 1<<32 | 1, 3} {
		assert.Equal(t, Errno(eperm), decide("openat", atCwd, 0, flags), "%#x", flags)
	}
	assert.Equal(t, noSuchCall, decide("openat2"))
	assert.Equal(t, Allow, decide("clone", 0x3d0f00), "glibc's pthread_create")
	assert.Equal(t, Allow, decide("clone", 0x7d0f00), "musl's pthread_create")
	assert.Equal(t, Allow, decide("clone", 0x50f00), "Go's newosproc")
	assert.Equal(t, Errno(eperm), decide("clone", 17), "fork")
	assert.Equal(t, Errno(eperm), decide("clone", 0x3d0f00|0x10000000), "a thread in a user namespace")
	assert.Equal(t, Errno(eperm), decide("prctl", 4), "PR_SET_DUMPABLE")
	assert.Equal(t, Allow, decide("prlimit64", 0, 7, 1))
	assert.Equal(t, Errno(eperm), decide("prlimit64", 2, 7, 1), "another process's")
	assert.Equal(t, Errno(eperm), decide("socket", 1))
	assert.Equal(t, Allow, decide("socketpair", 1))
	assert.Equal(t, Errno(eperm), decide("socketpair", 2))
	assert.Equal(t, Allow, decide("sendto", 3, 1, 1, 0, 0), "send")
	assert.Equal(t, Errno(eperm), decide("sendto", 3, 1, 1, 0, 1<<32))
	assert.Equal(t, Errno(eperm), decide("sendmsg"))
	assert.Equal(t, Errno(eperm), decide("connect"))
	assert.Equal(t, Errno(eperm), decide("kill", 1, 9))
}
