package registrytest

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/weirmesh/weir/registry"
)

// sample is a registration as dubbo-go makes it.
func sample(app registry.App, revision string) registry.Registration {
	return registry.Registration{
		App: app,
		Metadata: map[string]string{
			registry.KeyEndpoints:               `[{"port":20000,"protocol":"tri"},{"port":20880,"protocol":"dubbo"}]`,
			registry.KeyRevision:                revision,
			"dubbo.metadata.storage-type":       "local",
			"dubbo.metadata-service.url-params": `{"version":"1.0.0","protocol":"tri","port":"20001"}`,
			"free.text":                         "a <b> & \"c\" \u00e9 \u4e2d",
		},
		Details: registry.Details{Weight: 40, Tag: "gray", Started: time.Date(2026, 11, 3, 9, 30, 0, 123456000, time.UTC)},
	}
}

var registrarTests = []test{
	{"RegisterIsSeenByConsumers", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		id := w.PutInstance(w.T, app, "inventory-0")
		r := w.follow(w.Open(w.T), app)
		r.await("the instance", 0, callable(1))
		reg := sample(app, "rev1")
		w.must(w.Process(w.T, app, "inventory-0").Register(w.ctx(), reg))
		s := r.await("its registration", 0, func(s registry.Snapshot) bool { return len(s.Instances) == 1 && s.Instances[0].Registered() })
		i := instance(s, id)
		if i == nil || !maps.Equal(i.Metadata, reg.Metadata) {
			w.Fatalf("the metadata is %v, want %v", i, reg.Metadata)
		}
		endpoints := []registry.Endpoint{{Protocol: "tri", Port: 20000}, {Protocol: "dubbo", Port: 20880}}
		if !slices.Equal(i.Endpoints, endpoints) || i.Revision != "rev1" || !i.Callable() {
			w.Fatalf("the instance is %+v", i)
		}
		want := reg.Details
		want.State = registry.Up
		if !i.Details.Equal(want) {
			w.Fatalf("the details are %+v, want %+v", i.Details, want)
		}
	}},
	{"RegisterReplacesAndRepeats", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		w.PutInstance(w.T, app, "inventory-0")
		r := w.follow(w.Open(w.T), app)
		p := w.Process(w.T, app, "inventory-0")
		for range 3 {
			w.must(p.Register(w.ctx(), sample(app, "rev1")))
		}
		r.await("the first revision", 0, func(s registry.Snapshot) bool { return len(s.Instances) == 1 && s.Instances[0].Revision == "rev1" })
		next := sample(app, "rev2")
		delete(next.Metadata, "free.text")
		next.Details = registry.Details{State: registry.Draining}
		w.must(p.Register(w.ctx(), next))
		s := r.await("the second revision", 0, func(s registry.Snapshot) bool { return len(s.Instances) == 1 && s.Instances[0].Revision == "rev2" })
		i := s.Instances[0]
		if _, kept := i.Metadata["free.text"]; kept || i.Details.Tag != "" || i.Details.Weight != registry.DefaultWeight {
			w.Fatalf("something of the first registration is left: %+v", i)
		}
		if i.Callable() || i.Why() != "draining" {
			w.Fatalf("a draining instance is callable: %+v", i)
		}
	}},
	{"RegistrationsAtOnceEndInOne", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		w.PutInstance(w.T, app, "inventory-0")
		p := w.Process(w.T, app, "inventory-0")
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := p.Register(w.ctx(), sample(app, "same")); err != nil {
					w.Error(err)
				}
			})
		}
		wg.Wait()
		w.must(p.Register(w.ctx(), sample(app, "last")))
		r := w.follow(w.Open(w.T), app)
		r.await("the last registration", 0, func(s registry.Snapshot) bool { return len(s.Instances) == 1 && s.Instances[0].Revision == "last" })
	}},
	{"UnregisterTakesBack", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		w.PutInstance(w.T, app, "inventory-0")
		r := w.follow(w.Open(w.T), app)
		p := w.Process(w.T, app, "inventory-0")
		w.must(p.Unregister(w.ctx(), app)) // nothing is there, which is no error
		w.must(p.Register(w.ctx(), sample(app, "rev1")))
		r.await("the registration", 0, func(s registry.Snapshot) bool { return len(s.Instances) == 1 && s.Instances[0].Registered() })
		before := r.count()
		w.must(p.Unregister(w.ctx(), app))
		w.must(p.Unregister(w.ctx(), app))
		s := r.await("its end", before, func(s registry.Snapshot) bool { return len(s.Instances) == 1 && !s.Instances[0].Registered() })
		if i := s.Instances[0]; i.Revision != "" || len(i.Endpoints) != 0 || i.Details.Tag != "" {
			w.Fatalf("something of the registration is left: %+v", i)
		}
		w.must(p.Register(w.ctx(), sample(app, "rev2")))
		r.await("a new registration", before, func(s registry.Snapshot) bool { return len(s.Instances) == 1 && s.Instances[0].Revision == "rev2" })
	}},
	{"ALostRegistrationIsWrittenAgain", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		w.PutInstance(w.T, app, "inventory-0")
		p := w.Process(w.T, app, "inventory-0")
		w.must(p.Register(w.ctx(), sample(app, "rev1")))
		r := w.follow(w.Open(w.T), app)
		r.await("the registration", 0, func(s registry.Snapshot) bool { return len(s.Instances) == 1 && s.Instances[0].Registered() })
		w.Forget(w.T, app, "inventory-0")
		for ctx := w.ctx(); ; {
			s, err := p.Snapshot(ctx, app)
			w.must(err)
			if len(s.Instances) == 1 && s.Instances[0].Revision == "rev1" {
				break
			}
		}
		w.must(p.Unregister(w.ctx(), app))
		r.await("its end", 0, func(s registry.Snapshot) bool { return len(s.Instances) == 1 && !s.Instances[0].Registered() })
	}},
	{"AProviderWithoutAServiceIsTold", func(w *world) {
		app, other := w.app("inventory"), w.app("other")
		w.PutService(w.T, other, 20000)
		w.PutInstance(w.T, other, "other-0")
		err := w.Process(w.T, other, "other-0").Register(w.ctx(), sample(app, "rev1"))
		w.wantCode("Register without a Service", err, registry.NotFound)
	}},
	{"ARefusedRegistrationSaysSo", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		w.PutInstance(w.T, app, "inventory-0")
		err := w.Refused(w.T, app, "inventory-0").Register(w.ctx(), sample(app, "rev1"))
		w.wantCode("Register without rights", err, registry.Forbidden)
	}},
	{"BadRegistrationsAreInvalid", func(w *world) {
		app := w.app("inventory")
		w.PutService(w.T, app, 20000)
		w.PutInstance(w.T, app, "inventory-0")
		p := w.Process(w.T, app, "inventory-0")
		for _, bad := range badApps(w) {
			w.wantCode("Register as "+bad.String(), p.Register(w.ctx(), sample(bad, "rev1")), registry.Invalid)
			w.wantCode("Unregister "+bad.String(), p.Unregister(w.ctx(), bad), registry.Invalid)
		}
		for what, change := range map[string]func(*registry.Registration){
			"a negative weight":    func(r *registry.Registration) { r.Details.Weight = -1 },
			"a huge weight":        func(r *registry.Registration) { r.Details.Weight = registry.MaxWeight + 1 },
			"an unknown state":     func(r *registry.Registration) { r.Details.State = "asleep" },
			"unreadable endpoints": func(r *registry.Registration) { r.Metadata[registry.KeyEndpoints] = "tri:20000" },
			"an impossible port": func(r *registry.Registration) {
				r.Metadata[registry.KeyEndpoints] = `[{"port":70000,"protocol":"tri"}]`
			},
		} {
			reg := sample(app, "rev1")
			change(&reg)
			w.wantCode("Register with "+what, p.Register(w.ctx(), reg), registry.Invalid)
		}
	}},
}
