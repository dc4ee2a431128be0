package seccomp

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// maxPrograms bounds the cache: a host program that makes up a policy for each job must not fill its memory with them.
// A program has at most 32 KiB, and of a policy nothing is kept but a digest.
const maxPrograms = 64

var programs cache

// cache keeps compiled programs by their policy's content. Its zero value is empty and ready.
type cache struct {
	mu      sync.Mutex
	entries map[policyDigest]*cached
}

type policyDigest [sha256.Size]byte

type cached struct {
	once    sync.Once
	program Program
	err     error
}

func (c *cache) get(p Policy) (Program, error) {
	e := c.entry(sha256.Sum256([]byte(p.key())))
	// Not under the lock: a policy that is ready must not wait for one that is being compiled.
	e.once.Do(func() { e.program, e.err = p.compile() })
	return e.program, e.err
}

func (c *cache) entry(key policyDigest) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil {
		return e
	}
	if c.entries == nil {
		c.entries = make(map[policyDigest]*cached)
	}
	for other := range c.entries {
		if len(c.entries) < maxPrograms {
			break
		}
		delete(c.entries, other) // whichever comes first; who waits for it has it already
	}
	e := &cached{}
	c.entries[key] = e
	return e
}

// key is the policy's content, each part with its length, so that two policies have one key only if they are equal.
func (p Policy) key() string {
	b := make([]byte, 0, 8<<10)
	number := func(v uint64) { b = binary.AppendUvarint(b, v) }
	if p.broken != nil {
		return p.broken.Error() // no compiled policy has this key, and so no program is found for it
	}
	number(uint64(p.Default))
	number(uint64(p.unknown()))
	number(uint64(p.Flags))
	number(uint64(len(p.SubArches)))
	for _, arch := range p.SubArches {
		number(uint64(arch))
	}
	for _, r := range p.Rules {
		number(uint64(r.Action))
		number(uint64(len(r.Names)))
		for _, name := range r.Names {
			number(uint64(len(name)))
			b = append(b, name...)
		}
		number(uint64(len(r.Args)))
		for _, a := range r.Args {
			number(uint64(a.Index))
			number(uint64(a.Op))
			number(a.Value)
			number(a.ValueTwo)
		}
		number(uint64(len(r.Arches)))
		for _, arch := range r.Arches {
			number(uint64(arch))
		}
	}
	return string(b)
}
