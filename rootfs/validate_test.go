package rootfs_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/rootfs"
)

// badPaths are refused wherever a path is asked for, and why.
var badPaths = map[string]string{
	"":                              "empty",
	"etc":                           "not absolute",
	"./etc":                         "not absolute",
	"../etc":                        "not absolute",
	"/etc/..":                       `".."`,
	"/../etc":                       `".."`,
	"/a/../../b":                    `".."`,
	"/etc/":                         "not clean",
	"//etc":                         "not clean",
	"/a//b":                         "not clean",
	"/a/./b":                        "not clean",
	"/.":                            "not clean",
	"/a\x00b":                       "NUL",
	"\x00":                          "NUL",
	"/" + strings.Repeat("a", 256):  "name of 256 bytes",
	strings.Repeat("/abcdefg", 512): "path of 4096 bytes",
}

// goodPaths are taken as they are, whatever they look like.
var goodPaths = []string{
	"/a", "/...", "/a..b", "/..a", "/a b", "/a:b", "/a,b", `/a\b`, "/a\nb", "/\xff", "/~", "/" + strings.Repeat("a", 255), "/héllo",
}

func TestPaths(t *testing.T) {
	at := map[string]func(p string) rootfs.Op{
		"base":        func(p string) rootfs.Op { return rootfs.Base{Dir: p} },
		"bind source": func(p string) rootfs.Op { return rootfs.Bind{Source: p, Target: "/x"} },
		"bind":        func(p string) rootfs.Op { return rootfs.Bind{Source: "/x", Target: p} },
		"tmpfs":       func(p string) rootfs.Op { return rootfs.Tmpfs{Target: p} },
		"proc":        func(p string) rootfs.Op { return rootfs.Proc{Target: p} },
		"dev":         func(p string) rootfs.Op { return rootfs.Dev{Target: p} },
		"mask":        func(p string) rootfs.Op { return rootfs.Mask{Target: p} },
		"read-only":   func(p string) rootfs.Op { return rootfs.ReadOnly{Target: p} },
		"file":        func(p string) rootfs.Op { return rootfs.File{Target: p} },
		"dir":         func(p string) rootfs.Op { return rootfs.Dir{Target: p} },
		"symlink":     func(p string) rootfs.Op { return rootfs.Symlink{Target: p, Link: "x"} },
	}
	rootIsFine := map[string]bool{"base": true, "bind source": true, "tmpfs": true, "read-only": true}
	for name, op := range at {
		t.Run(name, func(t *testing.T) {
			for p, why := range badPaths {
				err := op(p).Validate()
				require.ErrorIs(t, err, fs.ErrInvalid, "%q", p)
				require.ErrorContains(t, err, why, "%q", p)
				var e *rootfs.Error
				require.ErrorAs(t, err, &e)
				assert.Equal(t, p, e.Path)
				assert.Equal(t, strings.Fields(name)[0], e.Op)
				assert.NotContains(t, err.Error(), "\x00")
			}
			for _, p := range goodPaths {
				require.NoError(t, op(p).Validate(), "%q", p)
				s := op(p).String()
				assert.NotContains(t, s, "\n", "one line")
				assert.NotContains(t, s, "\xff", "odd bytes are quoted")
			}
			err := op("/").Validate()
			if rootIsFine[name] {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, "cannot be the root")
			}
		})
	}
}

func TestOpValidate(t *testing.T) {
	for _, c := range []struct {
		op  rootfs.Op
		why string // "" if it is good
	}{
		{rootfs.Bind{Source: "/a", Target: "/b", Flags: rootfs.BindReadOnly | rootfs.BindNoExec | rootfs.BindOptional}, ""},
		{rootfs.Bind{Source: "/a", Target: "/b", Flags: 1 << 7}, "unknown flags 0x80"},
		{rootfs.Tmpfs{Target: "/a", Size: 1, Inodes: 1, Mode: 0o777 | fs.ModeSticky}, ""},
		{rootfs.Tmpfs{Target: "/a", Size: -1}, "size -1"},
		{rootfs.Tmpfs{Target: "/a", Size: 1 << 62}, "size 4611686018427387904"},
		{rootfs.Tmpfs{Target: "/a", Inodes: -1}, "inodes -1"},
		{rootfs.Tmpfs{Target: "/a", Inodes: 1 << 62}, "inodes"},
		{rootfs.Tmpfs{Target: "/a", Mode: 0o1777}, "fs.ModeSticky"},
		{rootfs.Tmpfs{Target: "/a", Mode: fs.ModeSetgid | 0o755}, "setgid"},
		{rootfs.Dev{Target: "/dev", ShmSize: 1}, ""},
		{rootfs.Dev{Target: "/dev", ShmSize: -1}, "shm size -1"},
		{rootfs.Proc{Target: "/proc", Hide: rootfs.HideProcesses, PIDsOnly: true}, ""},
		{rootfs.Proc{Target: "/proc", Hide: 9}, "hide"},
		{rootfs.Device{Source: "/dev/fuse", Target: "/dev/fuse", Flags: rootfs.BindReadOnly | rootfs.BindOptional}, ""},
		{rootfs.Device{Source: "/dev/fuse", Target: "/dev/net/null"}, ""},
		{rootfs.Device{Source: "dev/fuse", Target: "/dev/fuse"}, "source path is not absolute"},
		{rootfs.Device{Source: "/dev/fuse", Target: "/fuse"}, "lies in a directory"},
		{rootfs.Device{Source: "/dev/fuse", Target: "/dev/null"}, "has its own"},
		{rootfs.Device{Source: "/dev/fuse", Target: "/dev/fuse", Flags: rootfs.BindCreate}, "not rw,create"},
		{rootfs.Substitute{Target: "/proc/meminfo"}, ""},
		{rootfs.Substitute{Target: "/proc/meminfo", Source: "/var/lib/lxcfs/proc/meminfo"}, ""},
		{rootfs.Substitute{Target: "/proc/meminfo", Source: "proc"}, "source path is not absolute"},
		{rootfs.Substitute{Target: "/proc/meminfo", Source: "/x", Data: []byte{}}, "both data and a source"},
		{rootfs.Substitute{Target: "/proc/self/attr/current"}, "the kernel's"},
		{rootfs.Substitute{Target: "/proc/sys"}, "the kernel's"},
		{rootfs.File{Target: "/a", Mode: 0o4755}, "setuid"},
		{rootfs.File{Target: "/a", Mode: fs.ModeSetuid | 0o755}, "setuid"},
		{rootfs.File{Target: "/a", Mode: fs.ModeSticky | 0o755}, "mode"},
		{rootfs.File{Target: "/a", Mode: fs.ModeDevice}, "mode"},
		{rootfs.Dir{Target: "/a", Mode: fs.ModeSticky | 0o777}, ""},
		{rootfs.Dir{Target: "/a", Mode: fs.ModeDir | 0o755}, "mode"},
		{rootfs.Symlink{Target: "/a", Link: "../../b"}, ""},
		{rootfs.Symlink{Target: "/a", Link: ""}, "empty link"},
		{rootfs.Symlink{Target: "/a", Link: "a\x00b"}, "NUL"},
		{rootfs.Symlink{Target: "/a", Link: strings.Repeat("a", 4096)}, "4096 bytes"},
	} {
		t.Run(c.op.String(), func(t *testing.T) {
			err := c.op.Validate()
			if c.why == "" {
				assert.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, fs.ErrInvalid)
			assert.ErrorContains(t, err, c.why)
		})
	}
}

func TestValidateList(t *testing.T) {
	base, tmp := rootfs.Base{Dir: "/srv"}, rootfs.Tmpfs{Target: "/"}
	file := func(p string) rootfs.Op { return rootfs.File{Target: p} }
	bind := func(p string) rootfs.Op { return rootfs.Bind{Source: "/x", Target: p} }
	ro := func(p string) rootfs.Op {
		return rootfs.Bind{Source: "/x", Target: p, Flags: rootfs.BindReadOnly}
	}
	for _, c := range []struct {
		name  string
		ops   []rootfs.Op
		index int
		why   string // "" if the list is good
	}{
		{"base", []rootfs.Op{base}, 0, ""},
		{"tmpfs", []rootfs.Op{tmp}, 0, ""},
		{"parents first", []rootfs.Op{tmp, bind("/a"), bind("/a/b"), bind("/a/b/c"), file("/ab")}, 0, ""},
		{"file on a read-only bind", []rootfs.Op{tmp, ro("/a"), file("/a/b")}, 0, ""},
		{"file on a tmpfs on a bind", []rootfs.Op{tmp, bind("/a"), rootfs.Tmpfs{Target: "/a/b"}, file("/a/b/c")}, 0, ""},
		{"file on the host", []rootfs.Op{tmp, bind("/a"), file("/a/b")}, 2, "on the host, in what bind /x on /a rw shows"},
		{"directory on the host", []rootfs.Op{tmp, ro("/a"), bind("/a/b"), rootfs.Dir{Target: "/a/b/c"}}, 3, "on the host"},
		{"link on the host", []rootfs.Op{base, bind("/a"), rootfs.Symlink{Target: "/a/b", Link: "c"}}, 2, "on the host"},
		{"amended", []rootfs.Op{base, bind("/a"), rootfs.Mask{Target: "/a/secret"}, rootfs.ReadOnly{Target: "/a"}, rootfs.ReadOnly{Target: "/"}}, 0, ""},
		{"masked as a whole", []rootfs.Op{base, bind("/a"), rootfs.Mask{Target: "/a"}}, 0, ""},
		{"proc amended", append([]rootfs.Op{base, rootfs.Proc{Target: "/proc"}}, rootfs.ProcOps()...), 0, ""},
		{"into dev", []rootfs.Op{base, rootfs.Dev{Target: "/dev"}, rootfs.Tmpfs{Target: "/dev/shm"}, bind("/dev/log")}, 0, ""},
		{"device", []rootfs.Op{base, rootfs.Dev{Target: "/d"}, rootfs.Device{Source: "/x", Target: "/d/x/y"}}, 0, ""},
		{"substitute", []rootfs.Op{base, rootfs.Proc{Target: "/proc"}, rootfs.Substitute{Target: "/proc/stat"}, rootfs.Mask{Target: "/proc/kcore"}}, 0, ""},
		{"device in no dev", []rootfs.Op{base, bind("/d"), rootfs.Device{Source: "/x", Target: "/d/x"}}, 2, "is in no /dev"},
		{"inside a device", []rootfs.Op{base, rootfs.Dev{Target: "/d"}, rootfs.Device{Source: "/x", Target: "/d/x"}, file("/d/x/y")}, 3, "is inside device"},
		{"two substitutes", []rootfs.Op{base, rootfs.Substitute{Target: "/proc/stat"}, rootfs.Substitute{Target: "/proc/stat"}}, 2, "given twice"},
		{"directory below others", []rootfs.Op{tmp, file("/a/b"), rootfs.Dir{Target: "/a"}}, 0, ""},
		{"empty", nil, -1, "no operations"},
		{"no root", []rootfs.Op{bind("/a")}, 0, "has to be the root"},
		{"tmpfs elsewhere is no root", []rootfs.Op{rootfs.Tmpfs{Target: "/a"}}, 0, "has to be the root"},
		{"two roots", []rootfs.Op{base, tmp}, 1, "only the first"},
		{"nil", []rootfs.Op{base, nil}, 1, "nil operation"},
		{"bad one", []rootfs.Op{base, file("etc")}, 1, "not absolute"},
		{"twice", []rootfs.Op{base, file("/a"), file("/b"), file("/a")}, 3, "given twice"},
		{"mask twice", []rootfs.Op{base, rootfs.Mask{Target: "/a"}, rootfs.Mask{Target: "/a"}}, 2, "given twice"},
		{"same place", []rootfs.Op{base, file("/a"), bind("/a")}, 2, "takes the place of file /a"},
		{"directory at a bind", []rootfs.Op{base, bind("/a"), rootfs.Dir{Target: "/a"}}, 2, "takes the place of bind"},
		{"hides", []rootfs.Op{base, file("/a/b"), bind("/a")}, 2, "hides file /a/b"},
		{"hides deep", []rootfs.Op{base, bind("/a/b/c/d"), rootfs.Tmpfs{Target: "/a"}}, 2, "hides bind /x on /a/b/c/d rw"},
		{"inside a file", []rootfs.Op{base, file("/a"), file("/a/b")}, 2, "is inside file /a"},
		{"into proc", []rootfs.Op{base, rootfs.Proc{Target: "/proc"}, bind("/proc/self/attr")}, 2, "nothing is put into a proc"},
		{"file into proc", []rootfs.Op{base, rootfs.Proc{Target: "/p"}, file("/p/x")}, 2, "nothing is put into a proc"},
		{"over proc", []rootfs.Op{base, rootfs.Proc{Target: "/proc"}, bind("/proc")}, 2, "takes the place of proc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := rootfs.Validate(c.ops)
			if c.why == "" {
				require.NoError(t, err)
				require.NoError(t, rootfs.Check(c.ops[1:]), "a part of a good list is good")
				return
			}
			require.ErrorIs(t, err, fs.ErrInvalid)
			require.ErrorContains(t, err, c.why)
			var e *rootfs.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, c.index, e.Index)
		})
	}
}

func TestErrorQuotes(t *testing.T) {
	err := rootfs.File{Target: "x\x1b[2J\ny"}.Validate()
	assert.Equal(t, `file "x\x1b[2J\ny": path is not absolute`, err.Error())
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		name, dir string
		want      bool
	}{
		{"/a", "/a", true}, {"/a/b", "/a", true}, {"/ab", "/a", false}, {"/a", "/a/b", false}, {"/a", "/", true}, {"/", "/", true}, {"/", "/a", false},
	} {
		assert.Equal(t, c.want, rootfs.Within(c.name, c.dir), "%s in %s", c.name, c.dir)
	}
}

// Whatever is taken as a target cannot lead out of the root by itself.
func FuzzTarget(f *testing.F) {
	for p := range badPaths {
		f.Add(p)
	}
	for _, p := range goodPaths {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		err := rootfs.File{Target: p}.Validate()
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Fatalf("%q: control bytes in %q", p, err)
			}
			return
		}
		if !rootfs.Within(p, "/") || p[0] != '/' || p == "/" || strings.Contains(p+"/", "/../") || strings.Contains(p, "\x00") {
			t.Fatalf("%q is taken", p)
		}
	})
}
