package namespace_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/namespace"
)

func TestParseSubIDs(t *testing.T) {
	list, err := namespace.ParseSubIDs("# comment\nalice:100000:65536\n\n1001:165536:1000\nalice:300000:10\n")
	require.NoError(t, err)
	assert.Equal(t, namespace.SubIDs{{"alice", 100000, 65536}, {"1001", 165536, 1000}, {"alice", 300000, 10}}, list)

	assert.Equal(t, namespace.SubIDs{list[0], list[2]}, list.Lookup("alice", 1000))
	assert.Equal(t, namespace.SubIDs{list[1]}, list.Lookup("bob", 1001))
	assert.Empty(t, list.Lookup("bob", 1002))
	assert.Empty(t, list.Lookup("", 1000))
	assert.Empty(t, list.Lookup("alic", 100))

	best, ok := list.Largest()
	assert.True(t, ok)
	assert.Equal(t, list[0], best)
	_, ok = namespace.SubIDs{}.Largest()
	assert.False(t, ok)
}

func TestParseSubIDsBadLines(t *testing.T) {
	for _, line := range []string{
		"alice", "alice:1", "alice:1:2:3", ":1:2", "alice::2", "alice:1:", "alice:-1:2", "alice:1:-2", "alice:1:0",
		"alice:4294967296:1", "alice:1:4294967296", "alice:4294967295:1", "alice:4294967290:10", "alice: 1:2", "alice:0x1:2",
	} {
		list, err := namespace.ParseSubIDs("bob:1:2\n" + line + "\ncarol:3:4")
		require.ErrorIs(t, err, fs.ErrInvalid, line)
		require.ErrorContains(t, err, "line 2")
		assert.Equal(t, namespace.SubIDs{{"bob", 1, 2}, {"carol", 3, 4}}, list, "a bad line takes nothing from the others")
	}
	_, err := namespace.ParseSubIDs("x\x1b[31m:1\n")
	assert.NotContains(t, err.Error(), "\x1b")
}

func FuzzParseSubIDs(f *testing.F) {
	f.Add("alice:100000:65536\n1001:165536:1000\n")
	f.Add("#\n::\nx:4294967295:1\r\n\x00:1:1")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := namespace.ParseSubIDs(text)
		for _, r := range list {
			// Whatever is taken from the file is good as a line of a map.
			if e := (namespace.IDMaps{{Inside: 0, Outside: r.Start, Count: r.Count}}).Validate(); e != nil {
				t.Fatal(e)
			}
			if r.Owner == "" || strings.ContainsAny(r.Owner, ":\n") {
				t.Fatalf("owner %q", r.Owner)
			}
			if len(list.Lookup(r.Owner, 1<<32-1)) == 0 {
				t.Fatalf("%q is not found", r.Owner)
			}
		}
		if err == nil && len(list) == 0 && strings.ContainsFunc(text, func(r rune) bool { return r == ':' }) && !strings.Contains(text, "#") {
			t.Fatalf("%q gives nothing and no error", text)
		}
	})
}
