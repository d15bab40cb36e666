package dubbo

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// readValue returns what becomes of an answer.
func readValue(b []byte) (string, *reader, error) {
	var r reader
	r.reset(b)
	err := r.value()
	return string(r.out), &r, err
}

func TestSmallAnswersStandForLittle(t *testing.T) {
	wrap := func(levels int, inner []byte) []byte { // objects of one field, each of which becomes its content
		var b []byte
		b = append(b, tagClass)
		b = appendString(b, "org.example.Color")
		b = appendInt(b, 1)
		b = appendString(b, "name")
		return append(append(b, bytes.Repeat([]byte{tagObjectDirect}, levels)...), inner...)
	}
	long := appendString(nil, strings.Repeat("x", 8<<20))
	short := appendString(nil, strings.Repeat("x", 10<<10))
	definition := len(wrap(0, nil))
	many := wrap(0, nil)
	many = append(many, tagListVarRaw)
	for range 1000 {
		many = append(many, wrap(250, short)[definition:]...)
	}
	many = append(many, tagEnd)
	classes := bytes.Repeat([]byte{tagClass, 0, 0x90}, 1<<20)
	fields := append(append([]byte{tagClass, 0}, appendInt(nil, maxClassFields)...), make([]byte, maxClassFields)...)
	for name, c := range map[string]struct {
		b   []byte
		err error
	}{
		"nested names of many bytes": {append(wrap(200, long), tagEnd), nil},
		"many nested names":          {many, errUnfolded},
		"a million empty lists":      {append(append([]byte{tagListVarRaw}, bytes.Repeat([]byte{tagListDirectRaw}, 2<<20)...), tagEnd), errTooMany},
		"a million classes":          {classes, errTooMany},
		"a million fields":           {bytes.Repeat(fields, 300), errTooMany},
	} {
		_, r, err := readValue(c.b)
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
		kept := 0
		for i := range r.refs {
			kept += len(r.refs[i].text)
		}
		if kept > maxUnfolded || cap(r.refs) > 2*maxRefs || cap(r.classes) > 2*maxClasses {
			t.Errorf("%s: %d bytes of %d references and %d classes are kept", name, kept, cap(r.refs), cap(r.classes))
		}
	}
}

func TestReferenceToAKey(t *testing.T) {
	var e encoder
	e.b = append(e.b, tagListVarRaw, tagMapUntyped)
	e.object("java.math.BigDecimal", "value")
	e.b = appendString(e.b, "12.50")
	e.b = appendInt(e.b, 1)
	e.b = append(e.b, tagEnd, tagRef)
	e.b = appendInt(e.b, 2) // the list is 0, the map 1
	e.b = append(e.b, tagEnd)
	if got, _, err := readValue(e.b); err != nil || got != `[{"12.50":1},12.50]` {
		t.Errorf("%s, %v", got, err)
	}
}

func TestNumbersOfRoutesThatAreGone(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	s := openShop(t, Config{Metrics: reg}, startProvider(t, "a", nil))
	served := 0.0
	series := func() int {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		served = 0
		for _, f := range families {
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetName() == "route" {
						n++
						served += m.GetCounter().GetValue()
					}
				}
			}
		}
		return n
	}
	compile := func(name string) *handler {
		r := s.route()
		r.Name = name
		h, err := s.d.Compile(r)
		if err != nil {
			t.Fatal(err)
		}
		want(t, ask(h, "POST"), 200)
		return h.(*handler)
	}
	stays, edited := compile("stays"), compile("stays")
	before := series()
	for _, name := range []string{"a", "b", "c"} {
		if err := compile(name).Close(); err != nil {
			t.Fatal(err)
		}
	}
	_ = stays.Close()
	if got := series(); got != before {
		t.Errorf("%d series where there were %d", got, before)
	}
	if served != 2 {
		t.Errorf("%v requests are counted: an edit resets nothing", served)
	}
	_ = edited.Close()
	if got := series(); got != 0 {
		t.Errorf("%d series are left", got)
	}
}
