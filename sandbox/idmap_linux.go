package sandbox

import (
	"fmt"
	"slices"
	"strings"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
)

// idPlan is how the user namespace of a sandbox is mapped.
type idPlan struct {
	wire    *wire.IDMap // nil: no user namespace of its own
	root    bool        // there is a uid 0 inside, which PID 1 and the root's files get
	groups  bool        // setgroups(2) works inside
	copy    bool        // the maps can only be written for a dumpable process
	note    string
	summary string
}

// planIDs chooses the maps. As root a sandbox gets a range of host ids for itself; an ordinary user's has the user's own id as the
// job's, and with newuidmap(1) the ids of /etc/subuid around it.
func planIDs(s *spec, f *hostFacts) (idPlan, error) {
	if !s.namespaces.Has(namespace.User) {
		return idPlan{root: true, groups: true, summary: "ids: the host's own"}, nil
	}
	p := idPlan{wire: &wire.IDMap{Namespace: -1}, copy: f.uid != 0}
	switch {
	case s.uidMap != nil || s.gidMap != nil:
		return p.custom(s, f)
	case f.mapsAny && f.idRange:
		p.wire.Count = 1 << 16
		p.root, p.groups = true, true
		p.summary = "ids: 65536 of its own, host root not among them"
	case f.mapsAny && f.ownRange.Count > max(s.uid, s.gid):
		p.wire.UIDs = namespace.IDMaps{f.ownRange}.Text()
		p.wire.GIDs = p.wire.UIDs
		p.root, p.groups = true, true
		p.summary = "ids: " + f.ownRange.String()
		p.note = "this process has too few ids for a range of its own per sandbox: sandboxes share ids " + f.ownRange.String()
	case f.subUIDs.Count > s.uid && f.subGIDs.Count > s.gid:
		p.wire.UIDs = around(s.uid, f.uid, f.subUIDs).Text()
		p.wire.GIDs = around(s.gid, f.gid, f.subGIDs).Text()
		p.wire.Helper, p.root, p.groups = true, true, true
		p.summary = "ids: the caller's own for the job, others from /etc/subuid"
	default:
		p.single(s, f)
	}
	return p, nil
}

// mapsGID tells whether a group id exists inside.
func (p idPlan) mapsGID(id uint32) bool {
	if p.wire == nil || p.wire.Count > 0 {
		return p.wire == nil || id < p.wire.Count
	}
	return slices.ContainsFunc(mapsOf(p.wire.GIDs), func(m namespace.IDMap) bool { return id-m.Inside < m.Count })
}

// onHost returns what ids inside are outside, -1 where they are not mapped. Where the zygote chooses the range, they are not known.
func (p idPlan) onHost(uid, gid uint32) (int, int) {
	find := func(text string, id uint32) int {
		for _, m := range mapsOf(text) {
			if id-m.Inside < m.Count {
				return int(m.Outside + id - m.Inside)
			}
		}
		return -1
	}
	return find(p.wire.UIDs, uid), find(p.wire.GIDs, gid)
}

// changes tells whether the root inside is somebody else on the host than the caller.
func (p idPlan) changes() bool {
	return p.wire != nil && p.root && p.groups
}

// fromHost returns what ids outside are inside; those that are not mapped it returns as they are.
func (p idPlan) fromHost(uid, gid uint32) (uint32, uint32) {
	find := func(text string, id uint32) uint32 {
		for _, m := range mapsOf(text) {
			if id-m.Outside < m.Count {
				return m.Inside + id - m.Outside
			}
		}
		return id
	}
	return find(p.wire.UIDs, uid), find(p.wire.GIDs, gid)
}

// mapsOf reads the text of an id map.
func mapsOf(text string) (maps namespace.IDMaps) {
	for _, line := range strings.Split(text, "\n") {
		var m namespace.IDMap
		if _, err := fmt.Sscan(line, &m.Inside, &m.Outside, &m.Count); err == nil {
			maps = append(maps, m)
		}
	}
	return maps
}

// ttyGroup is the group that terminals belong to, by a convention older than Linux.
const ttyGroup = 5

// single maps nothing but the caller's own id, to that of the job.
func (p *idPlan) single(s *spec, f *hostFacts) {
	p.wire.UIDs = namespace.IDMaps{{Inside: s.uid, Outside: f.uid, Count: 1}}.Text()
	p.wire.GIDs = namespace.IDMaps{{Inside: s.gid, Outside: f.gid, Count: 1}}.Text()
	p.wire.DenySetgroups = true
	p.root = s.uid == 0 && s.gid == 0
	p.summary = "ids: the caller's own for the job, and no other"
	p.note = "an ordinary user without newuidmap and /etc/subuid cannot drop supplementary groups: inside they show as the overflow group"
}

func (p idPlan) custom(s *spec, f *hostFacts) (idPlan, error) {
	uids, gids := namespace.IDMaps(s.uidMap), namespace.IDMaps(s.gidMap)
	p.wire.UIDs, p.wire.GIDs = uids.Text(), gids.Text()
	_, u := uids.MapToHost(0)
	_, g := gids.MapToHost(0)
	p.root, p.groups = u && g, true
	p.summary = "ids: as WithIDMap says"
	if f.mapsAny {
		return p, nil
	}
	own := func(m namespace.IDMaps, id uint32) bool { return len(m) == 1 && m[0].Count == 1 && m[0].Outside == id }
	switch {
	case own(uids, f.uid) && own(gids, f.gid):
		p.wire.DenySetgroups, p.groups = true, false
	case f.subUIDs.Count > 0 && f.subGIDs.Count > 0:
		p.wire.Helper = true
	default:
		return p, &Error{Stage: "id map", Op: "WithIDMap", Path: fmt.Sprintf("%d -> %d", s.uid, f.uid), Err: errNeedsSubIDs}
	}
	return p, nil
}

// around maps id to own, and the ids below and above it to a subordinate range.
func around(id, own uint32, sub namespace.SubIDRange) namespace.IDMaps {
	count := min(sub.Count, 1<<16)
	var m namespace.IDMaps
	if id > 0 {
		m = append(m, namespace.IDMap{Inside: 0, Outside: sub.Start, Count: id})
	}
	m = append(m, namespace.IDMap{Inside: id, Outside: own, Count: 1})
	if rest := count - id; rest > 0 {
		m = append(m, namespace.IDMap{Inside: id + 1, Outside: sub.Start + id, Count: rest})
	}
	return m
}

var errNeedsSubIDs = fmt.Errorf("an ordinary user may map only the own id, and with newuidmap those of /etc/subuid and /etc/subgid: %w", ErrPermission)
