package dubbo

import (
	"slices"
	"sync"

	"dubbo.apache.org/dubbo-go/v3/common"
	goregistry "dubbo.apache.org/dubbo-go/v3/registry"
)

// recorder is a NotifyListener that keeps what it was told.
type recorder struct {
	mu    sync.Mutex
	lists [][]string
	urls  []*common.URL
	gate  chan struct{} // NotifyAll waits here, if set
	in    chan struct{} // NotifyAll says here that it was called, if set
}

func (r *recorder) Notify(*goregistry.ServiceEvent) { panic("lists travel whole") }

func (r *recorder) NotifyAll(events []*goregistry.ServiceEvent, done func()) {
	if r.in != nil {
		r.in <- struct{}{}
	}
	if r.gate != nil {
		<-r.gate
	}
	defer done()
	var list []string
	var urls []*common.URL
	for _, e := range events {
		list = append(list, e.Service.Location)
		urls = append(urls, e.Service)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists, r.urls = append(r.lists, list), urls
}

func (r *recorder) last() ([]string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lists) == 0 {
		return nil, false
	}
	return r.lists[len(r.lists)-1], true
}

// before returns the list that came so many before the last.
func (r *recorder) before(n int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lists[len(r.lists)-1-n]
}

// url returns one of the newest list's.
func (r *recorder) url(n int) *common.URL {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.urls[n]
}

// all returns those of the newest list.
func (r *recorder) all() []*common.URL {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.urls)
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.lists)
}

func (r *recorder) params(key string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, u := range r.urls {
		out = append(out, u.GetParam(key, ""))
	}
	return out
}
