package main

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/weirmesh/weir/governance"
)

// story is what an application is there to show.
type story int

const (
	healthy  story = iota
	failing        // more than half of one command's calls fail, and callers' circuits open
	slow           // one command takes ten times as long as it should
	behind         // one instance does not apply what it is pushed
	refusing       // one instance refuses what it is pushed
	switched       // a switch is pulled for a command
	forced         // a policy forces the circuit of a command open at one caller
	lossy          // one instance knows that its counts are incomplete
)

// stories by an application's place in the fleet, so that the first dozen shows
// all of them and the rest of a large fleet is mostly well.
var stories = map[int]story{3: failing, 4: slow, 5: switched, 6: behind, 7: refusing, 8: lossy, 9: forced}

// app is one made-up application.
type app struct {
	name      governance.App
	commands  []*command
	calls     []*call
	instances []*instance
	rate      float64 // calls served, per second in all instances
	story     story
}

// command is what an application serves.
type command struct {
	app    *app
	name   string
	share  float64 // of the application's calls
	median time.Duration
	errors float64 // share of calls that fail
	slow   bool
	// shut is set while the instances of the application refuse the command.
	shut atomic.Bool
}

// call is what an application asks another for.
type call struct {
	to   *command
	rate float64 // per second, over all instances of the caller
}

// fleet is all of it.
type fleet struct {
	apps      []*app
	instances []*instance
	rand      *rand.Rand // for what is planned, by one goroutine
	undo      []taken
}

var (
	spaces = []string{"shop", "pay", "stock", "ship", "user", "find", "promo", "risk", "data", "notify"}
	// The example shop's own names are left to it.
	nouns = map[string][]string{
		"shop":   {"checkout", "cart", "catalog", "order-query", "returns", "reviews", "wishlist", "invoice"},
		"pay":    {"cashier", "settlement", "wallet", "refund", "ledger", "channel-card", "channel-bank", "billing"},
		"stock":  {"warehouse", "allocation", "replenish", "count", "supplier", "batch", "forecast", "location"},
		"ship":   {"carrier", "label", "tracking", "route-plan", "customs", "pickup", "fleet", "address"},
		"user":   {"account", "session", "profile", "member", "points", "login", "consent", "device"},
		"find":   {"search", "suggest", "ranking", "index", "recommend", "vector", "trend", "query-parse"},
		"promo":  {"coupon", "campaign", "pricing-rules", "flash-sale", "lottery", "bundle", "budget", "ads"},
		"risk":   {"decision", "features", "blacklist", "device-risk", "review", "model", "graph", "limit"},
		"data":   {"events", "profile-tags", "report", "metrics", "archive", "export", "dictionary", "id-maker"},
		"notify": {"message", "mail", "sms", "push", "template", "inbox", "subscription", "wechat"},
	}
	verbs = []string{"get", "list", "create", "update", "query", "reserve", "check", "batchGet", "submit", "confirm"}
)

// plan makes the fleet of a seed. Applications call only those after them, so that
// there is no circle and the rates of calls can be added up from the front.
func plan(n int, seed uint64) *fleet {
	f := &fleet{rand: rand.New(rand.NewPCG(seed, 0x5eed))}
	for i := range n {
		a := &app{name: name(i), story: stories[i%40]}
		if i >= 40 && a.story > slow {
			a.story = healthy
		}
		f.provide(a, i)
		for k := range 2 + f.rand.IntN(2) {
			in := &instance{app: a, id: fmt.Sprintf("seed-%d-%s-%s-%d", seed, a.name.Namespace, a.name.Name, k), name: podName(a.name.Name, i, k), first: k == 0}
			a.instances = append(a.instances, in)
			f.instances = append(f.instances, in)
		}
		f.apps = append(f.apps, a)
	}
	f.connect()
	return f
}

func name(i int) governance.App {
	space := spaces[i%len(spaces)]
	names := nouns[space]
	round := i / len(spaces)
	name := names[round%len(names)]
	if again := round / len(names); again > 0 {
		name = fmt.Sprintf("%s-%d", name, again+1)
	}
	return governance.App{Namespace: space, Name: name}
}

// podName looks like those of a ReplicaSet.
func podName(app string, i, k int) string {
	const letters = "bcdfghjklmnpqrstvwxz2456789"
	at := func(n int) byte { return letters[n%len(letters)] }
	return fmt.Sprintf("%s-%x%c%c-%c%c%c%c%c", app, 0x5d4c+i*7, at(i), at(i*3+1), at(i+k*5), at(k*7+2), at(i*2+k), at(k+11), at(i*5+k*3))
}

func (f *fleet) provide(a *app, i int) {
	noun := camel(a.name.Name)
	for k := range 3 {
		verb := verbs[(i+k*3)%len(verbs)]
		c := &command{app: a, share: []float64{0.6, 0.3, 0.1}[k], median: time.Duration(2+f.rand.IntN(40)) * time.Millisecond, errors: 0.001}
		if i%4 == 1 { // as HTTP applications name theirs
			c.name = fmt.Sprintf("GET /%s/%s/{id}", a.name.Name, verb)
		} else {
			c.name = fmt.Sprintf("%sService.%s", noun, verb)
		}
		a.commands = append(a.commands, c)
	}
	switch a.story {
	case failing:
		a.commands[0].errors = 0.62
	case slow:
		a.commands[0].median *= 12
		a.commands[0].slow = true
	}
}

func (f *fleet) connect() {
	n := len(f.apps)
	for i, a := range f.apps {
		if i < max(1, n/12) { // where the outside comes in
			a.rate += 20 + 60*f.rand.Float64()
		}
		reach := max(4, n/4)
		for range 1 + f.rand.IntN(3) {
			j := i + 1 + f.rand.IntN(reach)
			if j >= n {
				continue
			}
			to := f.apps[j].commands[f.rand.IntN(2)]
			k := &call{to: to, rate: max(1, a.rate*(0.15+0.5*f.rand.Float64()))}
			a.calls = append(a.calls, k)
			f.apps[j].rate += k.rate
		}
		a.rate = min(max(a.rate, 1), 300)
	}
	// Somebody asks for what stands for something, whatever the dice said.
	for i, a := range f.apps {
		if a.story != healthy && i > 0 && !f.called(a.commands[0]) {
			k := &call{to: a.commands[0], rate: 12}
			f.apps[i%3].calls = append(f.apps[i%3].calls, k)
			a.rate += k.rate
		}
	}
}

func (f *fleet) called(c *command) bool {
	for _, a := range f.apps {
		for _, k := range a.calls {
			if k.to == c {
				return true
			}
		}
	}
	return false
}

func camel(s string) string {
	out := make([]byte, 0, len(s))
	up := true
	for i := range len(s) {
		switch {
		case s[i] == '-':
			up = true
		case up && s[i] >= 'a':
			out, up = append(out, s[i]-'a'+'A'), false
		default:
			out, up = append(out, s[i]), false
		}
	}
	return string(out)
}
