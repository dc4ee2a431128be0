package seccomp

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// whole uses every part of the form.
var whole = fmt.Sprintf(`{
	"defaultAction": "SCMP_ACT_ERRNO",
	"defaultErrnoRet": 38,
	"flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
	"listenerPath": "",
	"archMap": [{"architecture": %q, "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}, {"architecture": "SCMP_ARCH_S390X", "subArchitectures": null}],
	"syscalls": [
		{"names": ["read", "write", "chown32"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "files"},
		{"name": "close", "action": "SCMP_ACT_LOG", "includes": {}, "excludes": {}},
		{"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
		{"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "999.0"}},
		{"names": ["kcmp"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_PTRACE"]}},
		{"names": ["kcmp"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_PTRACE"]}},
		{"names": ["umask"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
		{"names": ["uname"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "arm64"]}},
		{"names": ["sync"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64", "arm64"]}},
		{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "errno": "ignored", "args": [
			{"index": 0, "value": 16, "valueTwo": 7, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 9, "op": "SCMP_CMP_EQ"}]},
		{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 18446744073709551615, "op": "SCMP_CMP_NE"}]},
		{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
		{"names": ["personality"], "action": "SCMP_ACT_TRAP", "args": [
			{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_GE"}]},
		{"names": ["write", "kill"], "action": "SCMP_ACT_KILL"},
		{"names": ["open", "openat"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64", "s390x"]}},
		{"names": ["openat", "umask"], "action": "SCMP_ACT_NOTIFY", "excludes": {"arches": ["x86"]}}
	]
}`, scmpArches[NativeArch()])

func TestParseSubArches(t *testing.T) {
	for head, want := range map[string][]Arch{
		`"archMap": null`: nil,
		`"archMap": [{"architecture": "SCMP_ARCH_X86_64"}]`:                                                             nil,
		`"archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X32"]}]`:                      nil,
		`"archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}]`:                      {I386},
		`"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]`:                                       {I386},
		`"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_ARM"]`:                                                        nil,
		`"architectures": ["SCMP_ARCH_NATIVE"]`:                                                                         nil,
		`"architectures": ["SCMP_ARCH_NATIVE", "SCMP_ARCH_X86", "SCMP_ARCH_ARM"]`:                                       {I386},
		`"architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_PPC"]`: {I386, ARM},
	} {
		p, err := ParseFor(strings.NewReader(`{"defaultAction": "SCMP_ACT_ALLOW", `+head+`, "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG"}]}`), Target{Arch: AMD64, Kernel: "6.1"})
		require.NoError(t, err, head)
		assert.Equal(t, want, p.SubArches, head)
	}
}

func TestParse(t *testing.T) {
	if runtime.GOOS != "linux" || NativeArch() == 0 {
		t.Skip("constraints on kernel and architecture are those of Linux on amd64 and arm64")
	}
	p, err := Parse(strings.NewReader(whole))
	require.NoError(t, err)
	if NativeArch() == AMD64 {
		assert.Equal(t, []Arch{I386}, p.SubArches)
	}
	p.SubArches = nil
	assert.Equal(t, strings.Join([]string{
		"default: errno 38", "unknown: errno 38", "flags: LOG WAIT_KILLABLE_RECV",
		"allow read write chown32",
		"log close",
		"allow ptrace",
		"errno 1 kcmp",
		"allow uname",
		"errno 22 socket if arg0 == 0x10 and arg2 == 0x9",
		"allow socket if arg0 != 0xffffffffffffffff",
		"allow clone if arg0 & 0x7e020000 == 0x0",
		"trap personality if arg0 == 0x1",
		"trap personality if arg0 >= 0x2",
		"kill process kill", // write is taken
		"allow open openat on arm64",
		"notify openat on amd64", // on arm64 it is taken
		"notify umask",
		"",
	}, "\n"), p.String())
	assert.NoError(t, p.Validate())
}

func TestParseDefaults(t *testing.T) {
	const rules = `"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO"}]}`
	p, err := Parse(strings.NewReader(`{"defaultAction": "SCMP_ACT_ALLOW", ` + rules))
	require.NoError(t, err)
	assert.Equal(t, Allow, p.Default)
	assert.Equal(t, Allow, p.Unknown, "a deny-list lets new calls through, as it says")
	assert.Equal(t, Errno(syscall.Errno(1)), p.Rules[0].Action)

	p, err = Parse(strings.NewReader(`{"defaultAction": "SCMP_ACT_KILL_PROCESS", ` + rules))
	require.NoError(t, err)
	assert.Equal(t, KillProcess, p.Default)
	assert.Zero(t, p.Unknown)

	if runtime.GOOS == "linux" {
		p, err = Parse(strings.NewReader(`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS", ` + rules))
		require.NoError(t, err)
		assert.Equal(t, Errno(38), p.Default)
	}
}

func TestParseErrors(t *testing.T) {
	in := func(entry string) string {
		return "{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n \"syscalls\": [\n  {\"names\": [\"read\"], \"action\": \"SCMP_ACT_LOG\"},\n  " + entry + "\n ]}"
	}
	const second = "line 4, column 3: syscalls[1]: "
	for name, c := range map[string]struct {
		text string
		err  error
		want string
	}{
		"empty":             {"", ErrInvalid, "line 1, column 1: invalid policy: the text ends early"},
		"cut":               {`{"defaultAction"`, ErrInvalid, "the text ends early"},
		"cut in entry":      {"{\"syscalls\":\n[{\"names\": [\"re", ErrInvalid, "line 2, column 16: invalid policy: the text ends early"},
		"array":             {"[]", ErrInvalid, "line 1, column 1: invalid policy: [ in place of an object"},
		"number":            {" 7", ErrInvalid, "line 1, column 2: invalid policy: 7 in place of an object"},
		"null":              {"null", ErrInvalid, "null in place of an object"},
		"no syntax":         {"{\n\"defaultAction\" 7}", ErrInvalid, "line 2, column 17: "},
		"no action":         {"{}", ErrEmpty, "defaultAction: seccomp: empty policy: no default action"},
		"no rules":          {`{"defaultAction": "SCMP_ACT_ALLOW"}`, ErrEmpty, "no rule"},
		"text behind":       {`{"defaultAction": "SCMP_ACT_ALLOW"}` + "\n{}", ErrInvalid, "line 2, column 1: invalid policy: text after the profile"},
		"unknown field":     {"{\n\"defaultAktion\": 1}", ErrInvalid, `line 2, column 1: invalid policy: unknown field "defaultAktion"`},
		"repeated field":    {`{"syscalls": [], "syscalls": []}`, ErrInvalid, `line 1, column 18: invalid policy: field "syscalls" stands twice`},
		"wrong type":        {`{"defaultAction": 7}`, ErrInvalid, "line 1, column 19: defaultAction: invalid policy: 7 in place of a string"},
		"syscalls no list":  {`{"syscalls": {}}`, ErrInvalid, "line 1, column 14: syscalls: invalid policy: { in place of a list"},
		"default":           {`{"defaultAction": "SCMP_ACT_NONE"}`, ErrInvalid, `defaultAction: invalid policy: action "SCMP_ACT_NONE"`},
		"default errno":     {`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}`, ErrInvalid, "errno 4096"},
		"architectures":     {`{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X"]}`, ErrInvalid, `for architectures ["SCMP_ARCH_S390X"], not for ` + runtime.GOARCH},
		"flags":             {`{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}`, ErrUnsupported, `line 1, column 47: flags[0]: seccomp: unsupported operation: flag "SECCOMP_FILTER_FLAG_NEW_LISTENER"`},
		"listener":          {`{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x"}`, ErrUnsupported, `column 53: listenerPath: seccomp: unsupported operation: a listener at "/run/x"`},
		"unknown name":      {in(`{"names": ["write", "opne"], "action": "SCMP_ACT_ALLOW"}`), ErrUnknownCall, `line 4, column 23: syscalls[1].names[1]: seccomp: rule 1, "opne": unknown system call`},
		"entry's field":     {in(`{"names": ["write"], "exclude": {}, "action": "SCMP_ACT_ALLOW"}`), ErrInvalid, `line 4, column 24: syscalls[1]: invalid policy: unknown field "exclude"`},
		"entry's type":      {in(`{"names": "write", "action": "SCMP_ACT_ALLOW"}`), ErrInvalid, `line 4, column 13: syscalls[1].names: invalid policy: "write" in place of a list`},
		"no names":          {in(`{"names": [], "action": "SCMP_ACT_ALLOW"}`), ErrInvalid, second + "invalid policy: no name"},
		"entry is null":     {in(`null`), ErrInvalid, second},
		"no entry action":   {in(`{"names": ["write"]}`), ErrInvalid, second + `invalid policy: action ""`},
		"trace":             {in(`{"names": ["write"], "action": "SCMP_ACT_TRACE", "errnoRet": 1}`), ErrUnsupported, `action "SCMP_ACT_TRACE"`},
		"negative errno":    {in(`{"names": ["write"], "action": "SCMP_ACT_ERRNO", "errnoRet": -1}`), ErrInvalid, "line 4, column 64: syscalls[1].errnoRet: invalid policy: -1 is no whole number"},
		"errno's name":      {in(`{"names": ["write"], "action": "SCMP_ACT_ERRNO", "errno": "EWHAT"}`), ErrInvalid, `errno "EWHAT"`},
		"comparison":        {in(`{"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "op": "=="}]}`), ErrInvalid, `line 4, column 61: syscalls[1].args[0]: invalid policy: comparison "=="`},
		"index":             {in(`{"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}`), ErrInvalid, "line 4, column 71: syscalls[1].args[0].index: invalid policy: index 6"},
		"value":             {in(`{"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 18446744073709551616, "op": "SCMP_CMP_EQ"}]}`), ErrInvalid, "line 4, column 83: syscalls[1].args[0].value: invalid policy: 18446744073709551616 is no whole number from 0 to"},
		"mask":              {in(`{"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]}`), ErrInvalid, "never holds"},
		"kernel":            {in(`{"names": ["write"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "new"}}`), ErrInvalid, `kernel version "new"`},
		"contradiction":     {in(`{"names": ["kill"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}, {"names": ["kill"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}`), ErrConflict, "syscalls[2]: "},
		"other case":        {in(`{"Names": ["write"], "action": "SCMP_ACT_ALLOW"}`), ErrInvalid, `line 4, column 4: syscalls[1]: invalid policy: unknown field "Names"`},
		"action twice":      {in(`{"names": ["write"], "action": "SCMP_ACT_ALLOW", "action": "SCMP_ACT_LOG"}`), ErrInvalid, `line 4, column 52: syscalls[1]: invalid policy: field "action" stands twice`},
		"escaped twice":     {in(`{"names": ["write"], "action": "SCMP_ACT_ALLOW", "\u0061ction": "SCMP_ACT_LOG"}`), ErrInvalid, `field "action" stands twice`},
		"condition twice":   {in(`{"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "index": 1, "op": "SCMP_CMP_EQ"}]}`), ErrInvalid, `syscalls[1].args[0]: invalid policy: field "index" stands twice`},
		"fraction":          {in(`{"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0.5, "op": "SCMP_CMP_EQ"}]}`), ErrInvalid, "args[0].index: invalid policy: 0.5 is no whole number"},
		"exponent":          {in(`{"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 1e0, "op": "SCMP_CMP_EQ"}]}`), ErrInvalid, "args[0].index: invalid policy: 1e0 is no whole number"},
		"huge number":       {in(`{"names": ["write"], "action": "SCMP_ACT_ERRNO", "errnoRet": ` + strings.Repeat("9", 100000) + `}`), ErrInvalid, "errnoRet: invalid policy: " + strings.Repeat("9", 40) + "… is no whole number"},
		"deep":              {`{"syscalls": ` + strings.Repeat("[", 100000), ErrInvalid, "line 1, column 15: syscalls[0]: invalid policy: [ in place of an object"},
		"deep, unknown":     {`{"a": ` + strings.Repeat(`{"a": `, 100000), ErrInvalid, `line 1, column 2: invalid policy: unknown field "a"`},
		"trailing comma":    {`{"syscalls": [],}`, ErrInvalid, "line 1, column 17: invalid policy: "},
		"no quotes":         {`{defaultAction: 1}`, ErrInvalid, "line 1, column 2: invalid policy: "},
		"names of numbers":  {in(`{"names": [1], "action": "SCMP_ACT_ALLOW"}`), ErrInvalid, "syscalls[1].names[0]: invalid policy: 1 in place of a string"},
		"name is null":      {in(`{"names": [null], "action": "SCMP_ACT_ALLOW"}`), ErrUnknownCall, "syscalls[1].names[0]: "},
		"architecture":      {`{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86_46"]}`, ErrInvalid, `line 1, column 75: architectures[1]: invalid policy: architecture "SCMP_ARCH_X86_46"`},
		"sub-architecture":  {`{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["x86"]}]}`, ErrInvalid, `archMap[0].subArchitectures[0]: invalid policy: architecture "x86"`},
		"included arch":     {in(`{"names": ["write"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd46"]}}`), ErrInvalid, `syscalls[1].includes.arches[0]: invalid policy: architecture "amd46"`},
		"excluded arch":     {in(`{"names": ["write"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["AMD64"]}}`), ErrInvalid, `syscalls[1].excludes.arches[0]: invalid policy: architecture "AMD64"`},
		"capability":        {in(`{"names": ["write"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["sys_admin"]}}`), ErrInvalid, `syscalls[1].excludes.caps[0]: invalid policy: capability "sys_admin"`},
		"condition's field": {in(`{"names": ["write"], "action": "SCMP_ACT_ALLOW", "includes": {"cap": ["CAP_KILL"]}}`), ErrInvalid, `syscalls[1].includes: invalid policy: unknown field "cap"`},
		"killable":          {`{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG"}]}`, ErrInvalid, "WAIT_KILLABLE_RECV without the action notify"},
		"control character": {in("{\"names\": [\"wr\\u001b[31mite\"], \"action\": \"SCMP_ACT_ALLOW\"}"), ErrUnknownCall, `"wr\x1b[31mite"`},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse(strings.NewReader(c.text))
			require.ErrorIs(t, err, c.err)
			var e *ParseError
			require.ErrorAs(t, err, &e)
			assert.ErrorContains(t, err, c.want)
			assert.Zero(t, p)
		})
	}
}

func TestParseReading(t *testing.T) {
	gone := errors.New("gone")
	_, err := Parse(iotest.ErrReader(gone))
	require.ErrorIs(t, err, gone)
	_, err = Parse(io.LimitReader(neverEnding{}, maxProfile+10))
	require.ErrorIs(t, err, ErrTooLarge)
}

type neverEnding struct{}

func (neverEnding) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add(`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_KILL"}]}`)
	f.Add(`{"syscalls": [{"names": [`)
	f.Add("{\"a\"\n: [[[[")
	f.Add(`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000, "architectures": null, "syscalls": [null, {}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(strings.NewReader(text))
		if err == nil {
			require.NoError(t, p.Validate())
			require.NotEmpty(t, p.String())
			return
		}
		var e *ParseError
		require.ErrorAs(t, err, &e)
		lines := strings.Split(text, "\n")
		require.True(t, e.Line >= 1 && e.Line <= len(lines), "line %d", e.Line)
		require.True(t, e.Column >= 1 && e.Column <= len(lines[e.Line-1])+1, "column %d", e.Column)
	})
}
