package namespace

import "strings"

// Set is a set of namespace kinds. The zero Set is empty. Sets are values: the methods
// return copies.
type Set uint16

// Of returns the set of the given kinds. Kinds that are not valid are left out.
func Of(kinds ...Kind) Set { return Set(0).With(kinds...) }

// All returns the set of every kind.
func All() Set { return Of(User, PID, Mount, UTS, IPC, Net, Cgroup, Time) }

// With returns s with the given kinds added. Kinds that are not valid are left out.
func (s Set) With(kinds ...Kind) Set {
	for _, k := range kinds {
		if k.Valid() {
			s |= 1 << k
		}
	}
	return s
}

// Without returns s with the given kinds removed.
func (s Set) Without(kinds ...Kind) Set {
	for _, k := range kinds {
		if k.Valid() {
			s &^= 1 << k
		}
	}
	return s
}

// Has reports whether k is in s.
func (s Set) Has(k Kind) bool { return k.Valid() && s&(1<<k) != 0 }

// Kinds returns the kinds in s in the order of their constants.
func (s Set) Kinds() []Kind {
	var list []Kind
	for k := User; k <= Time; k++ {
		if s.Has(k) {
			list = append(list, k)
		}
	}
	return list
}

// CloneFlags returns the CLONE_NEW* bits of all kinds in s.
func (s Set) CloneFlags() uint64 {
	var flags uint64
	for _, k := range s.Kinds() {
		flags |= k.CloneFlag()
	}
	return flags
}

// String returns the names of the kinds in s separated by commas, or "none".
func (s Set) String() string {
	var names []string
	for _, k := range s.Kinds() {
		names = append(names, k.String())
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ",")
}
