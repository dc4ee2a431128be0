package cgroup

import "time"

// Sheet says how the accounts of a leaf are made of what its files say, for somebody who reads the files and leaves it to another to understand them.
// It is a value that can be sent.
type Sheet struct {
	Places []SheetPlace
	Files  []SheetFile
	// Alone is the index of the file that tells whether any process is in the leaf: none is if its bytes at offset At are Empty.
	Alone, At int
	Empty     uint32 // four bytes in the machine's order

	Memory     int64 // the leaf's limit, 0: none
	MostMemory int64 // the sandbox's
	MostPids   int
	// Above are the files of the sandbox's group that are counted from the leaf's beginning on, -1: there is none.
	AbovePids, AboveCPU int
	CPUKey              string
	CPUUnit             time.Duration
	BasePids            uint64
	BaseThrottled       time.Duration
}

// SheetPlace is what a directory of the leaf is.
type SheetPlace struct {
	Version     int
	Controllers uint32
}

// SheetFile is a file of a leaf.
type SheetFile struct {
	Place int // -1: above
	Name  string
	Room  int // bytes it may take
}
