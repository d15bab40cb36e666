package memory_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/memory"
	"github.com/weirmesh/weir/tracing/tracingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	tracingtest.Exercise(t, func(_ *testing.T, o tracingtest.Options) (tracingtest.Store, func()) {
		return memory.New(memory.Config{Lenient: o.Lenient, TagKeys: o.TagKeys}), nil
	})
}

func TestTheOldestTracesAreForgotten(t *testing.T) {
	s := memory.New(memory.Config{MaxSpans: 100})
	var last []tracing.Span
	var first tracing.TraceID
	for _, spans := range tracingtest.NewGenerator(1, time.Now()).Traces(50) {
		if first.IsZero() {
			first = spans[0].TraceID
		}
		if err := s.Write(t.Context(), spans); err != nil {
			t.Fatal(err)
		}
		last = spans
	}
	if got, err := s.Trace(t.Context(), first); err != nil || len(got) != 0 {
		t.Errorf("the first: %v, %v", got, err)
	}
	if got, err := s.Trace(t.Context(), last[0].TraceID); err != nil || len(got) != len(last) {
		t.Errorf("the last: %d spans, %v", len(got), err)
	}
}
