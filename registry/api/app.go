package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/weirmesh/weir/internal/httpapi"
	"github.com/weirmesh/weir/registry"
)

// Detail is one application.
type Detail struct {
	App      registry.App  `json:"app"`
	Mode     registry.Mode `json:"mode" enum:"pod,service" doc:"How it asks to be called: its instances, or its Service."`
	ModeFrom string        `json:"modeFrom,omitempty" doc:"What asks for the mode; missing where nothing does."`
	// Choice and ChoiceFrom are for consumers that use ZooKeeper, too.
	Choice     registry.Choice `json:"choice,omitempty" enum:"kubernetes,zookeeper,both" doc:"By which registry consumers that use ZooKeeper, too, are to call it; missing where nothing says."`
	ChoiceFrom string          `json:"choiceFrom,omitempty" doc:"What says so; missing where nothing does."`
	Service    Service         `json:"service"`
	// Clusters are those that are looked at, where there are several.
	Clusters []string `json:"clusters,omitempty" nullable:"false" doc:"The clusters that the control plane looks at, its own first; missing where there is one alone."`
	// Generation and Observed say how new this is.
	Generation uint64    `json:"generation" doc:"Grows with each change that this control plane has seen; others count for themselves."`
	Observed   time.Time `json:"observed" doc:"When the newest change reached this control plane."`
	Stale      time.Time `json:"stale,omitzero" doc:"Since when the registry has been out of touch; this is the last state known."`
	Counts     Counts    `json:"counts" doc:"Of all instances, also of those that are not told here."`

	Instances []Instance `json:"instances" nullable:"false" doc:"Those that are not called first, then by name."`
	// LeftOut counts instances that were asked for and are more than the limit.
	LeftOut int `json:"leftOut,omitempty" doc:"How many more there are than the limit lets through."`
	// Missing says why there is no instance of the name that was asked for.
	Missing []Finding `json:"missing,omitempty" nullable:"false" doc:"Where an instance was asked for that is not there: why."`

	Interfaces  []Interface   `json:"interfaces" nullable:"false" doc:"What the instances offer, as far as it is described."`
	Undescribed []Undescribed `json:"undescribed,omitempty" nullable:"false" doc:"Revisions that are not."`
}

// Service is the address of an application as a whole.
type Service struct {
	Host     string                 `json:"host,omitempty" doc:"Missing where it has no Service."`
	Headless bool                   `json:"headless" doc:"It has no address of its own, so Service mode cannot be had."`
	Ports    []registry.ServicePort `json:"ports" nullable:"false"`
}

// Instance is one instance of an application.
type Instance struct {
	ID        string              `json:"id"`
	Name      string              `json:"name"`
	Host      string              `json:"host" doc:"Its address; empty where it has none."`
	Endpoints []registry.Endpoint `json:"endpoints" nullable:"false"`
	Health    registry.Health     `json:"health" enum:"ready,not-ready,terminating"`
	State     registry.State      `json:"state" enum:"up,draining" doc:"What it asks for itself."`
	Weight    int                 `json:"weight"`
	Tag       string              `json:"tag,omitempty"`
	Zone      string              `json:"zone,omitempty"`
	Cluster   string              `json:"cluster,omitempty" doc:"Where several are looked at."`
	Node      string              `json:"node,omitempty"`
	Started   time.Time           `json:"started,omitzero"`
	Revision  string              `json:"revision,omitempty" doc:"Names what it offers."`
	Standby   bool                `json:"standby,omitempty" doc:"It would get new calls, were there not nearer ones, as why says."`
	Callable  bool                `json:"callable" doc:"Whether it gets new calls."`
	Why       string              `json:"why,omitempty" doc:"Why it does not, in a few words."`
	Kept      *registry.Kept      `json:"kept,omitempty" doc:"Set where it is called though it is not ready, since so many were lost at once that their loss is doubted."`
	KeptWhy   string              `json:"keptWhy,omitempty" doc:"Why that is, in a sentence."`
	Problem   string              `json:"problem,omitempty" doc:"What keeps calls away and somebody can mend."`
	Warning   string              `json:"warning,omitempty" doc:"What is wrong and does not keep calls away."`
	Metadata  map[string]string   `json:"metadata" doc:"What it registered, as written; values of more than 4 KiB are cut."`
	Explain   []Finding           `json:"explain" nullable:"false" doc:"Check by check, why it is in or out of its consumers' lists."`
}

// Finding is one thing that was looked at.
type Finding struct {
	Check  registry.Check  `json:"check" enum:"in touch with the API server,its application has a Service,in the Service's endpoints,not terminating,ready,not draining,none nearer is called in its place,has published metadata,its metadata can be read,names what it speaks,says what it offers,what it offers is described,its details can be read" doc:"What was looked at, in words that hold when all is well."`
	OK     bool            `json:"ok"`
	Effect registry.Effect `json:"effect,omitempty" enum:"held,dubbo,none" doc:"Where it does not hold: held, nobody sends it new calls; dubbo, Dubbo consumers leave it out; none, it is called as if all were well."`
	Detail string          `json:"detail" doc:"What was found and, where it does not hold, what to do."`
}

// Interface is a Dubbo interface that instances offer.
type Interface struct {
	registry.Interface
	Protocols []string `json:"protocols" nullable:"false"`
	Methods   []string `json:"methods,omitempty" nullable:"false" doc:"With the types of their parameters where the provider describes them."`
	Instances int      `json:"instances" doc:"How many offer it, callable or not."`
}

// Undescribed is a revision of which it is not known what it offers.
type Undescribed struct {
	Revision  string `json:"revision"`
	Instances int    `json:"instances"`
	Why       string `json:"why"`
}

type getIn struct {
	Namespace string `path:"namespace" maxLength:"63" example:"shop"`
	Name      string `path:"name" maxLength:"63" example:"inventory"`
	Instance  string `query:"instance" doc:"Only the instance of this name or id."`
	Cluster   string `query:"cluster" doc:"Only what is in this cluster, as it knows it by itself."`
	Held      bool   `query:"held" doc:"Only instances that are not called."`
	Limit     int    `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"How many instances are told at most."`
}

type getOut struct{ Body Detail }

func (s *server) get(ctx context.Context, in *getIn) (*getOut, error) {
	app := registry.App{Namespace: in.Namespace, Name: in.Name}
	if err := app.Validate(); err != nil {
		return nil, err
	}
	if err := s.checkCluster(in.Cluster); err != nil {
		return nil, err
	}
	first, cancel := context.WithTimeout(ctx, s.deps.Patience)
	defer cancel()
	there, err := s.there(first, app, in.Cluster)
	if err != nil {
		return nil, unknown(err)
	}
	if !there {
		return nil, noApp(app)
	}
	wanted := app
	wanted.Cluster = in.Cluster
	snapshot, err := s.deps.Registry.Snapshot(first, wanted)
	if err != nil {
		return nil, unknown(err)
	}
	if !snapshot.Known() {
		return nil, noApp(app) // it went just now
	}
	sum := registry.Summarize(snapshot)
	s.offers.read(first, sum.App, sum.Revisions)
	out := &getOut{Body: Detail{
		App: wanted, Clusters: s.clusterNames(), Mode: snapshot.Mode, ModeFrom: snapshot.ModeFrom, Choice: snapshot.Choice, ChoiceFrom: snapshot.ChoiceFrom,
		Generation: snapshot.Generation,
		Observed:   snapshot.Observed, Stale: snapshot.StaleSince, Counts: counts(&sum), Instances: []Instance{},
		Service: Service{Host: snapshot.Service.Host, Headless: snapshot.Service.Headless, Ports: snapshot.Service.Ports},
	}}
	if out.Body.Service.Ports == nil {
		out.Body.Service.Ports = []registry.ServicePort{}
	}
	chosen := make([]*registry.Instance, 0, len(snapshot.Instances))
	for i := range snapshot.Instances {
		instance := &snapshot.Instances[i]
		if (in.Instance == "" || instance.Name == in.Instance || instance.ID == in.Instance) && (!in.Held || !instance.Callable()) {
			chosen = append(chosen, instance)
		}
	}
	if in.Instance != "" && snapshot.Find(in.Instance) == nil {
		out.Body.Missing = findings(snapshot.ExplainMissing(in.Instance))
	}
	slices.SortFunc(chosen, byName)
	told := chosen[:min(len(chosen), in.Limit)]
	out.Body.LeftOut = len(chosen) - len(told)
	for _, instance := range told {
		out.Body.Instances = append(out.Body.Instances, s.instance(snapshot, instance))
	}
	out.Body.Interfaces, out.Body.Undescribed = s.offers.interfaces(app, sum.Revisions)
	return out, nil
}

// unknown is the answer where nothing is known of an application. It is not the
// caller whom a registry refuses, but the control plane.
func unknown(err error) error {
	if registry.CodeOf(err) == registry.Invalid {
		return err
	}
	return httpapi.NewProblem(http.StatusServiceUnavailable, "nothing is known of the applications: "+registry.Text(err)).WithHeader("Retry-After", "2")
}

func noApp(app registry.App) error {
	return httpapi.NewProblem(http.StatusNotFound, fmt.Sprintf("there is no application %s in the registry: an application is a Service of that name; /api/v1/registry lists those there are", app))
}

func (s *server) instance(snapshot registry.Snapshot, i *registry.Instance) Instance {
	out := Instance{
		ID: i.ID, Name: i.Name, Endpoints: i.Endpoints, Health: i.Health, State: i.Details.State, Weight: i.Details.Weight, Tag: i.Details.Tag,
		Zone: i.Zone, Cluster: i.Cluster, Node: i.Node, Started: i.Details.Started, Revision: i.Revision, Callable: i.Callable(), Standby: i.StandsBy(), Why: i.Why(),
		Problem: i.Problem, Warning: i.Warning, Metadata: make(map[string]string, len(i.Metadata)),
	}
	if i.Kept != nil {
		out.Kept, out.KeptWhy = i.Kept, i.Kept.String()
	}
	if i.Host.IsValid() {
		out.Host = i.Host.String()
	}
	if out.Endpoints == nil {
		out.Endpoints = []registry.Endpoint{}
	}
	if out.State == "" {
		out.State = registry.Up
	}
	for key, value := range i.Metadata {
		out.Metadata[key] = cut(value)
	}
	var document *registry.Document
	if known := s.offers.get(snapshot.App, i.Revision); known != nil {
		document = &known.Document
	}
	out.Explain = findings(snapshot.Explain(i, document))
	return out
}

func findings(found []registry.Finding) []Finding {
	out := make([]Finding, len(found))
	for n, f := range found {
		out[n] = Finding(f)
	}
	return out
}

// mostValue bounds what is told of one value of an instance's metadata.
const mostValue = 4 << 10

func cut(value string) string {
	if len(value) <= mostValue {
		return value
	}
	n := mostValue
	for n > 0 && value[n]&0xc0 == 0x80 { // not inside a character
		n--
	}
	return value[:n] + "…"
}
