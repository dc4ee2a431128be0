//go:build linux

package zygote

import (
	"errors"
	"sync"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
)

// planStore keeps plans by the numbers that the host program has given them, so that it need not send them again. With more than there may be all are forgotten.
type planStore struct {
	most int

	mu   sync.Mutex
	byID map[uint64]*plan.Plan
}

var errNoBase = errors.New("the plan's base is not here")

// find returns the plan with that number, which is kept if it comes along; 0 is that of one which is not to be kept.
func (s *planStore) find(number uint64, encoded []byte) (*plan.Plan, error) {
	s.mu.Lock()
	p := s.byID[number]
	s.mu.Unlock()
	switch {
	case p != nil:
		return p, nil
	case number != 0 && len(encoded) == 0:
		return nil, errNoBase
	}
	p, err := plan.Decode(encoded)
	if err != nil || number == 0 {
		return p, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil || len(s.byID) >= s.most {
		s.byID = map[uint64]*plan.Plan{}
	}
	s.byID[number] = p
	return p, nil
}
