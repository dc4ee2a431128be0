package sandbox

import (
	"strings"
	"testing"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/stretchr/testify/assert"
)

func TestPickCPUs(t *testing.T) {
	four := []int{0, 2, 3, 65}
	for _, c := range []struct {
		quota float64
		turn  int
		want  []int
	}{
		{0, 0, four},
		{4, 0, four},
		{3.5, 1, four},
		{9, 1, four},
		{0.01, 0, []int{0}},
		{1, 1, []int{2}},
		{1, 5, []int{2}},
		{1.1, 0, []int{0, 2}},
		{2, 1, []int{3, 65}},
		{2, 2, []int{0, 2}},
		{3, 1, []int{0, 2, 65}},
	} {
		assert.Equal(t, c.want, pickCPUs(four, c.quota, c.turn), "%v at turn %d", c.quota, c.turn)
	}
}

func TestCPUList(t *testing.T) {
	for want, cpus := range map[string][]int{"": nil, "7": {7}, "0-1": {0, 1}, "0-2,5,8-9": {0, 1, 2, 5, 8, 9}} {
		assert.Equal(t, want, cpuList(cpus))
		if want != "" {
			got, err := parseCPUList(want)
			assert.NoError(t, err)
			assert.Equal(t, cpus, got)
		}
	}
}

func TestParseCPUList(t *testing.T) {
	for _, bad := range []string{"", "a", "1-", "-1", "1,,2", "99999999", "max"} {
		_, err := parseCPUList(bad)
		assert.Error(t, err, bad)
	}
	got, err := parseCPUList("3,1-2,2")
	assert.NoError(t, err)
	assert.Equal(t, []int{3, 1, 2, 2}, got)
}

func TestSomeCPUs(t *testing.T) {
	const x86 = "processor\t: 0\nflags\t: a b\n\nprocessor\t: 1\nflags\t: a c\n\nprocessor\t: 10\n\n"
	assert.Equal(t, "processor\t: 1\nflags\t: a c\n\nprocessor\t: 10\n\n", someCPUs(x86, []int{1, 10}))
	// Some architectures end with a paragraph about the machine.
	const arm = "processor\t: 0\nBogoMIPS\t: 1\n\nprocessor\t: 1\n\nHardware\t: board\n"
	assert.Equal(t, "processor\t: 1\n\nHardware\t: board\n", someCPUs(arm, []int{1}))
	assert.Empty(t, someCPUs("", []int{0}))
}

func TestMachineFiles(t *testing.T) {
	m := machine{cpuinfo: "processor\t: 0\n\nprocessor\t: 1\n\n", cpus: []int{1}, memory: 64 << 20, swap: 1 << 20, now: 5}
	files := m.files()
	assert.Contains(t, files["/proc/meminfo"], "MemTotal:          65536 kB\nMemFree:           65536 kB\n")
	assert.Contains(t, files["/proc/meminfo"], "SwapTotal:          1024 kB\n")
	assert.Contains(t, files["/proc/swaps"], "virtual\t\t1024\t")
	assert.Contains(t, files["/proc/stat"], "\ncpu1 0 ")
	assert.NotContains(t, files["/proc/stat"], "\ncpu0 ")
	assert.Contains(t, files["/proc/stat"], "\nbtime 5\n")
	assert.Equal(t, "processor\t: 1\n\n", files["/proc/cpuinfo"])
	assert.Equal(t, "1\n", files[onlineFile])
	for path, data := range files {
		assert.Contains(t, rootfs.Substitutes(), path)
		assert.True(t, data == "" || strings.HasSuffix(data, "\n"), path)
	}

	// What is not limited is the kernel's to tell.
	files = machine{cpuinfo: m.cpuinfo, cpus: []int{0, 1}, allCPUs: true}.files()
	for _, path := range []string{"/proc/meminfo", "/proc/swaps", "/proc/cpuinfo"} {
		assert.NotContains(t, files, path)
	}
	assert.Equal(t, "0-1\n", files[onlineFile])
}
