package cgroup

import "strings"

// shownControllers are those by which programs find out how much of the machine is theirs. A Java runtime takes
// notice of none on v1 unless it finds the first four mounted.
const shownControllers = CPUController | CPUAcctController | CPUSetController | MemoryController | PidsController

// UnifiedHierarchy is the name of v2 in Manager.Shown.
const UnifiedHierarchy = "cgroup2"

// LegacyHierarchies lists the hierarchies of v1 in which a group may be shown to the processes in it, in the
// kernel's words, such as "cpu,cpuacct". selfCgroup is the content of /proc/PID/cgroup, of any process.
func LegacyHierarchies(selfCgroup string) []string {
	var names []string
	for _, line := range strings.Split(selfCgroup, "\n") {
		f := strings.SplitN(line, ":", 3)
		// One with a name of its own could only be mounted by that.
		if len(f) == 3 && parseV1Controllers(f[1])&shownControllers != 0 && !strings.Contains(f[1], "=") {
			names = append(names, f[1])
		}
	}
	return names
}
