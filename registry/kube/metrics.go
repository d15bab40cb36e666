package kube

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmesh/weir/registry"
)

type metrics struct {
	registerer  prometheus.Registerer
	collectors  []prometheus.Collector
	events      *prometheus.CounterVec
	relists     *prometheus.CounterVec
	errors      *prometheus.CounterVec
	snapshots   prometheus.Counter
	coalesced   prometheus.Counter
	writes      prometheus.Counter
	lost        prometheus.Counter
	restored    *prometheus.CounterVec
	kept        prometheus.Counter
	released    *prometheus.CounterVec
	probes      *prometheus.CounterVec
	fileErrors  *prometheus.CounterVec
	propagation prometheus.Histogram
}

func newMetrics(h *Hub, registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		registerer: registerer,
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_events_total", Help: "Watch events received from the cluster, by resource.",
		}, []string{"resource"}),
		relists: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_relists_total", Help: "How often the whole state had to be read again, by resource.",
		}, []string{"resource"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_errors_total", Help: "Failed reads, watches and writes, by code.",
		}, []string{"code"}),
		snapshots: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_registry_snapshots_total", Help: "Snapshots handed to subscribers.",
		}),
		coalesced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_registry_coalesced_total", Help: "Changes that travelled in a snapshot together with an earlier one.",
		}),
		writes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_registry_registrations_total", Help: "Times that this process wrote its registration.",
		}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_registry_lost_registrations_total",
			Help: "Times that somebody else had changed or taken away this process's registration. Many: two writers fight over one pod.",
		}),
		restored: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_restored_records_total",
			Help: "Times that this process stored again what it had stored and found lost, by kind: mapping, metadata.",
		}, []string{"kind"}),
		kept: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_registry_suppressed_removals_total",
			Help: "Times that an instance that is not ready was kept callable, since many were lost at once without proof.",
		}),
		released: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_released_instances_total",
			Help: "Times that an instance was kept no more, by reason: ready again, gone (its pod went, ends, drains or started anew), selector (its Service selects others), probe (it does not answer), time (the hold was over), policy.",
		}, []string{"reason"}),
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_probes_total", Help: "Attempts to reach an instance whose loss is doubted, by result: answered, failed.",
		}, []string{"result"}),
		fileErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_registry_snapshot_file_errors_total", Help: "Failures of the snapshot file, by operation: read, write.",
		}, []string{"operation"}),
		propagation: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "weir_registry_propagation_seconds",
			Help:    "From the arrival of a watch event to the return of the subscriber that was told.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5},
		}),
	}
	if registerer == nil {
		return m, nil
	}
	m.collectors = []prometheus.Collector{m.events, m.relists, m.errors, m.snapshots, m.coalesced, m.writes, m.lost, m.restored, m.kept, m.released, m.probes, m.fileErrors, m.propagation, &stateCollector{h}}
	for i, c := range m.collectors {
		if err := registerer.Register(c); err != nil {
			m.collectors = m.collectors[:i]
			m.unregister()
			return nil, &registry.Error{
				Code: registry.Invalid, Message: "metrics cannot be registered", Err: err,
				Fix: "give each hub a Prometheus registerer of its own",
			}
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
}

func (m *metrics) countError(err error) {
	m.errors.WithLabelValues(string(registry.CodeOf(err))).Inc()
}

var (
	connectedDesc = prometheus.NewDesc("weir_registry_watch_connected",
		"1 while a watch stands, 0 while it is lost or refused.", []string{"resource", "namespace"}, nil)
	stalenessDesc = prometheus.NewDesc("weir_registry_staleness_seconds",
		"How long a watch has been lost; 0 while it stands.", []string{"resource", "namespace"}, nil)
	instancesDesc = prometheus.NewDesc("weir_registry_cached_instances",
		"Endpoints held in the cache.", []string{"namespace"}, nil)
	subscriptionsDesc = prometheus.NewDesc("weir_registry_subscriptions",
		"Subscriptions to applications.", []string{"namespace"}, nil)
	keptDesc = prometheus.NewDesc("weir_registry_kept_instances",
		"Instances that are kept callable though they are not ready.", []string{"namespace"}, nil)
	fileAgeDesc = prometheus.NewDesc("weir_registry_snapshot_file_age_seconds",
		"Since when what the snapshot file says was last known to be true: that of an earlier process, until this one wrote it.", nil, nil)
	fileSizeDesc = prometheus.NewDesc("weir_registry_snapshot_file_bytes",
		"Size of the snapshot file.", nil, nil)
	fileUsedDesc = prometheus.NewDesc("weir_registry_snapshot_file_used",
		"1 while the snapshot file stands in for an API server that was not heard yet.", nil, nil)
)

// stateCollector reads the hub's state when Prometheus asks.
type stateCollector struct{ hub *Hub }

func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- connectedDesc
	ch <- stalenessDesc
	ch <- instancesDesc
	ch <- subscriptionsDesc
	ch <- keptDesc
	ch <- fileAgeDesc
	ch <- fileSizeDesc
	ch <- fileUsedDesc
}

func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	now := c.hub.clock.now()
	// Gathered under the lock, sent outside of it: the channel may be slow.
	type reading struct {
		desc   *prometheus.Desc
		value  float64
		labels []string
	}
	var all []reading
	c.hub.mu.Lock()
	for _, s := range c.hub.spaces {
		namespace := s.namespace
		if namespace == "" {
			namespace = AllNamespaces
		}
		for _, src := range []*source{s.sliceSource, s.podSource, s.serviceSource, s.policySource, s.mappingSource} {
			if src == nil {
				continue
			}
			connected, staleness := 0.0, 0.0
			if src.synced && src.lostAt.IsZero() {
				connected = 1
			}
			if !src.lostAt.IsZero() {
				staleness = now.Sub(src.lostAt).Seconds()
			}
			all = append(all,
				reading{connectedDesc, connected, []string{src.resource.name, namespace}},
				reading{stalenessDesc, staleness, []string{src.resource.name, namespace}})
		}
		instances, followers := 0, 0
		for _, sl := range s.slices {
			instances += len(sl.endpoints)
		}
		for _, a := range s.apps {
			followers += a.followers
		}
		kept := 0
		for a := range s.losing {
			for _, l := range a.lost {
				if l.kept != nil {
					kept++
				}
			}
		}
		all = append(all,
			reading{instancesDesc, float64(instances), []string{namespace}},
			reading{subscriptionsDesc, float64(followers), []string{namespace}},
			reading{keptDesc, float64(kept), []string{namespace}})
	}
	if k := c.hub.keeper; k != nil {
		used := 0.0
		if k.used() {
			used = 1
		}
		all = append(all, reading{fileSizeDesc, float64(k.bytes), nil}, reading{fileUsedDesc, used, nil})
		switch {
		case !k.confirmed.IsZero():
			all = append(all, reading{fileAgeDesc, now.Sub(k.confirmed).Seconds(), nil})
		case !k.since.IsZero():
			all = append(all, reading{fileAgeDesc, c.hub.clock.wall().Sub(k.since).Seconds(), nil})
		}
	}
	c.hub.mu.Unlock()
	for _, r := range all {
		gauge(r.desc, r.value, r.labels...)
	}
}
