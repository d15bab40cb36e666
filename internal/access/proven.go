package access

import (
	"container/list"
	"sync"
	"time"
)

// mostProven bounds how many credentials are remembered.
const mostProven = 10_000

// proven remembers which credentials proved whom, by their hashes. It is bounded:
// what was proven longest ago makes room. It is safe for concurrent use.
type proven struct {
	most int

	mu     sync.Mutex
	proofs map[proofKey]*list.Element
	order  list.List // of *proof; what was proven longest ago comes first
	asking map[proofKey]*question
}

// proofKey names a credential: what is a session's secret is no token.
type proofKey struct {
	kind Kind // KindUser for a session, KindToken for an API token
	hash string
}

// proof is what a store said of a credential.
type proof struct {
	key       proofKey
	principal Principal
	asked     time.Time
	expires   time.Time // of the credential itself; zero for never
}

// question is one that those who come with the same credential ask a store at
// the same time.
type question struct {
	asking int
	void   bool // what it is answered may not hold any more
}

func newProven(most int) *proven {
	return &proven{most: most, proofs: map[proofKey]*list.Element{}, asking: map[proofKey]*question{}}
}

// counts reports whether a proof holds now, for some time after it was asked for.
func (p *proof) counts(now time.Time, within time.Duration) bool {
	return p != nil && now.Before(p.asked.Add(within)) && (p.expires.IsZero() || now.Before(p.expires))
}

// proofOf is what an element of the order holds: nothing but proofs is put there.
func proofOf(e *list.Element) *proof {
	p, _ := e.Value.(*proof)
	return p
}

// of returns what is remembered of a credential, nil for nothing.
func (m *proven) of(key proofKey) *proof {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.proofs[key]; e != nil {
		return proofOf(e)
	}
	return nil
}

// ask is called before a store is asked about a credential, and what it returns
// once it has answered: with a proof, with refused, or with neither, when it did
// not say. A proof is forgotten at once if a refusal, or forgetting, came between.
func (m *proven) ask(key proofKey) (answered func(p *proof, refused bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.asking[key]
	if q == nil {
		q = &question{}
		m.asking[key] = q
	}
	q.asking++
	return func(p *proof, refused bool) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if refused {
			m.void(key)
			q.void = true
		}
		if p != nil && !q.void {
			m.keep(p)
		}
		if q.asking--; q.asking == 0 && m.asking[key] == q {
			delete(m.asking, key)
		}
	}
}

func (m *proven) keep(p *proof) {
	m.drop(p.key)
	for len(m.proofs) >= m.most {
		m.drop(proofOf(m.order.Front()).key)
	}
	m.proofs[p.key] = m.order.PushBack(p)
}

func (m *proven) drop(key proofKey) {
	if e := m.proofs[key]; e != nil {
		m.order.Remove(e)
		delete(m.proofs, key)
	}
}

// forget drops a credential, and what those who ask about it just now will hear.
func (m *proven) forget(key proofKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.void(key)
}

func (m *proven) void(key proofKey) {
	m.drop(key)
	if q := m.asking[key]; q != nil {
		q.void = true
		delete(m.asking, key)
	}
}

// forgetAll is forget of all credentials.
func (m *proven) forgetAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.proofs)
	m.order.Init()
	for _, q := range m.asking {
		q.void = true
	}
	clear(m.asking)
}
