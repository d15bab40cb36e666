package agentless

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/internal/memhttp"
)

func TestDocumentsOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	ours := configHeader + "a=b\n"
	for name, c := range map[string]struct {
		data map[string]string
		want string
		says string
	}{
		"empty":                {nil, "application.properties", ""},
		"a document":           {map[string]string{"application.yaml": "a: b"}, "application.properties", ""},
		"the first taken":      {map[string]string{"application.properties": "a=b", "x": "y"}, "application.yaml", ""},
		"ours":                 {map[string]string{"application.properties": "a=b", "application.yml": ours}, "application.yml", ""},
		"properties as keys":   {map[string]string{"server.port": "80"}, "application.properties", ""},
		"all taken":            {map[string]string{"application.properties": "", "application.yaml": "", "application.yml": ""}, "", "all somebody else's"},
		"for the other engine": {map[string]string{"delivery.properties": ours}, "application.properties", ""},
		"one of another name": {
			map[string]string{"delivery.yaml": "a: b"}, "", "would not be read any more beside another one",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := documentName(c.data, "application")
			if got != c.want || (err != nil) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// Spring Cloud Kubernetes 3 reads other documents than version 1 did.
func TestDocumentsAreCalledAsTheyAreRead(t *testing.T) {
	t.Parallel()
	c := configuredApp{app: deliveryApp, engine: resilienceName}
	for name, data := range map[string]map[string]string{"delivery.properties": {"delivery.yaml": ""}, "": {"application.yaml": ""}} {
		if got, err := documentName(data, documentBase(c)); got != name || (err == nil) != (name != "") {
			t.Errorf("beside %v: %q, %v", data, got, err)
		}
	}
	c.engine = hystrixName
	if got, err := documentName(map[string]string{"application.yaml": ""}, documentBase(c)); got != "application.properties" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestKeysOfFeignAreWrittenAsTheyAreRead(t *testing.T) {
	t.Parallel()
	lines := []change{{"a." + quote + ".x y", " b=c"}, {"ключ:!", `\`}}
	if got, want := render("application.properties", lines), configHeader+`a.CarrierClient\#quote(String).x\ y=\ b=c`+"\n"+`\u043a\u043b\u044e\u0447\:\!=\\`+"\n"; got != want {
		t.Errorf("properties are\n%s\nnot\n%s", got, want)
	}
	if got, want := render("application.yml", lines), configHeader+`"a.CarrierClient#quote(String).x y": " b=c"`+"\n"+`"ключ:!": "\\"`+"\n"; got != want {
		t.Errorf("YAML is\n%s\nnot\n%s", got, want)
	}
	if render("application.yml", nil) != "" {
		t.Error("nothing is something")
	}
}

func TestWhatAProcessBeginsWithIsWritten(t *testing.T) {
	t.Parallel()
	rules := governance.Rules{
		Timeout: governance.Duration(time.Second),
		Breaker: &governance.Breaker{Mode: governance.ModeForcedOpen, ErrorPercent: 12.5, SlowCall: governance.Duration(time.Second), SlowPercent: 60, Window: governance.Duration(20 * time.Second)},
	}
	set := setOf(version(t, 1, price, rules, ""))
	for engine, want := range map[string]string{
		hystrixName: "hystrix.command.PriceClient#price(String).circuitBreaker.enabled=true " +
			"hystrix.command.PriceClient#price(String).circuitBreaker.errorThresholdPercentage=13 " +
			"hystrix.command.PriceClient#price(String).circuitBreaker.forceOpen=true " +
			"hystrix.command.PriceClient#price(String).execution.isolation.thread.timeoutInMilliseconds=1000 " +
			"hystrix.command.PriceClient#price(String).execution.timeout.enabled=true",
		resilienceName: "resilience4j.circuitbreaker.instances[PriceClient#price(String)].failureRateThreshold=12.5 " +
			"resilience4j.circuitbreaker.instances[PriceClient#price(String)].slidingWindowSize=20 " +
			"resilience4j.circuitbreaker.instances[PriceClient#price(String)].slidingWindowType=TIME_BASED " +
			"resilience4j.circuitbreaker.instances[PriceClient#price(String)].slowCallDurationThreshold=1000ms " +
			"resilience4j.circuitbreaker.instances[PriceClient#price(String)].slowCallRateThreshold=60 " +
			"resilience4j.timelimiter.instances[PriceClient#price(String)].timeoutDuration=1000ms",
	} {
		var got []string
		for _, l := range configLines(engine, set, delivery, someTime) {
			got = append(got, l.key+"="+l.value)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s begins with\n%s", engine, strings.Join(got, " "))
		}
	}
}

// readsConfig has a stand-in read a ConfigMap at its start, and when it is told to.
func (j *jvm) readsConfig(c *cluster) {
	j.config = func() map[string]string { return c.properties("application.properties") }
	j.below = j.config()
}

func TestPoliciesHoldInANewProcessFromItsFirstCall(t *testing.T) {
	bubble(t, func(w *world) {
		const mine = "server.port: 8080\n"
		w.cluster.reads, w.cluster.config = true, map[string]string{"application.yaml": mine}
		j, k := newJVM(w.T), newJVM(w.T)
		j.readsConfig(w.cluster)
		k.readsConfig(w.cluster)
		w.cluster.pods["1"], w.cluster.pods["2"] = j, k
		_, end := w.control()
		defer end()
		_, endTwo := w.control()
		defer endTwo()
		w.after(8 * time.Second)
		if !w.current("1") || !w.current("2") || w.cluster.writes != 0 {
			w.Fatalf("at first %d writes, %+v", w.cluster.writes, w.instance("1"))
		}
		w.policies.publish(version(w.T, 1, quote, switched, governance.KindSwitch))
		w.after(5 * time.Second)
		const line = `hystrix.command.CarrierClient\#quote(String).circuitBreaker.forceOpen=true`
		if !w.current("1") || !w.current("2") || w.cluster.writes != 1 || !strings.Contains(w.cluster.config["application.properties"], line) || w.cluster.config["application.yaml"] != mine {
			w.Fatalf("pulled: %d writes, %q, %+v", w.cluster.writes, w.cluster.config, w.instance("1"))
		}
		j.restart()
		key := "hystrix.command." + quote + ".circuitBreaker.forceOpen"
		if got := j.shown(quote, forceOpen.suffix); got != "true" || j.written()[key] != "" {
			w.Fatalf("a new process begins with %q", got)
		}
		w.after(10 * time.Second)
		if !w.current("1") {
			w.Fatalf("after a restart: %v, %+v", j.written(), w.instance("1"))
		}
		w.policies.publish()
		w.after(5 * time.Second)
		for _, one := range []*jvm{j, k} {
			if got := one.shown(quote, forceOpen.suffix); got == "true" {
				w.Errorf("released, it is %q", got)
			}
		}
		if _, left := w.cluster.config["application.properties"]; left || !w.current("1") || !w.current("2") {
			w.Errorf("released: %q, %+v", w.cluster.config, w.instance("1"))
		}
	})
}

func TestAConfigMapThatCannotBeWrittenKeepsNothingFromHolding(t *testing.T) {
	bubble(t, func(w *world) {
		w.cluster.reads = true
		j := newJVM(w.T)
		w.cluster.pods["1"] = j
		w.policies.publish(version(w.T, 1, quote, switched, governance.KindSwitch))
		_, end := w.control()
		defer end()
		w.after(10 * time.Second)
		lacks := strings.Join(w.instance("1").Lacks, "\n")
		if !w.current("1") || !strings.Contains(lacks, "ConfigMap delivery cannot be written: there is no configmaps/delivery") {
			w.Fatalf("it lacks %q, and applies %+v", lacks, w.instance("1").Applied)
		}
		w.cluster.change(func() { w.cluster.config = map[string]string{} })
		w.after(15 * time.Second)
		if lacks := strings.Join(w.instance("1").Lacks, "\n"); !strings.Contains(lacks, "it has no refresh") || len(w.cluster.config) != 1 {
			w.Errorf("it lacks %q, and there is %q", lacks, w.cluster.config)
		}
	})
}

func TestAnAnnotationThatNamesNoConfigMapIsTold(t *testing.T) {
	bubble(t, func(w *world) {
		const problem = "the annotation names no ConfigMap"
		w.cluster.pods["1"], w.cluster.problem = newJVM(w.T), problem
		_, end := w.control()
		defer end()
		w.after(10 * time.Second)
		if lacks := w.instance("1").Lacks; !slices.Contains(lacks, problem) {
			w.Errorf("it lacks %q", lacks)
		}
		for _, problem := range []string{"", problem} {
			w.cluster.change(func() { w.cluster.problem = problem })
			w.after(15 * time.Second)
			if lacks := w.instance("1").Lacks; slices.Contains(lacks, "the annotation names no ConfigMap") == (problem == "") {
				w.Errorf("with %q it lacks %q", problem, lacks)
			}
		}
	})
}

// What Resilience4j reads at its start is not met until a process has begun with it.
func TestThresholdsOfResilience4jHoldFromTheNextStart(t *testing.T) {
	bubble(t, func(w *world) {
		w.cluster.reads, w.cluster.config = true, map[string]string{}
		g := newGifts(w, "1")
		g.call(price, 1)
		g.config = func() map[string]string { return w.cluster.properties("delivery.properties") }
		w.policies.publish(version(w.T, 1, price, governance.Rules{Breaker: &governance.Breaker{ErrorPercent: 30, MinCalls: 7}}, ""))
		_, end := w.control()
		defer end()
		w.after(10 * time.Second)
		i := w.instance("1")
		if i.Applied == nil || len(i.Applied.Unmet) != 1 || !strings.Contains(i.Applied.Unmet[0].Reason, "minimumNumberOfCalls=7 is in ConfigMap delivery, and holds in a process that begins from now on") {
			w.Fatalf("it applies %+v", i.Applied)
		}
		g.restart(w.cluster.pods["1"])
		g.call(price, 1)
		w.after(20 * time.Second)
		if i := w.instance("1"); !w.current("1") || len(i.Applied.Unmet) != 0 || len(i.Lacks) != 0 {
			w.Errorf("after a restart it is %+v, %+v", i, i.Applied)
		}
	})
}

// While an application goes from Hystrix to Resilience4j, it has pods with either, and
// the control plane with the first of them may have none of the others.
func TestPodsOfBothEnginesSettle(t *testing.T) {
	t.Parallel()
	for name, planes := range map[string]int{"one control plane": 1, "a pod each": 3} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.cluster.reads, w.cluster.config = true, map[string]string{}
				j := newJVM(w.T)
				j.readsConfig(w.cluster)
				w.cluster.pods["1"] = j
				g := newGifts(w, "2")
				g.config = func() map[string]string { return w.cluster.properties("delivery.properties") }
				g.call(price, 1)
				for range planes {
					_, end := w.control()
					defer end()
				}
				w.after(15 * time.Second)
				w.policies.publish(
					version(w.T, 1, price, governance.Rules{Breaker: &governance.Breaker{ErrorPercent: 50, MinCalls: 7}}, ""),
					version(w.T, 2, quote, switched, governance.KindSwitch),
				)
				w.after(30 * time.Second)
				if len(w.cluster.config) != 2 {
					w.Errorf("written is %q", w.cluster.config)
				}
				for _, id := range []string{"1", "2"} {
					if i := w.instance(id); !w.current(id) {
						w.Errorf("%s (%s) applies %+v, and lacks %q", id, i.SDK, i.Applied, i.Lacks)
					}
				}
				w.policies.publish()
				w.after(30 * time.Second)
				if len(w.cluster.config) != 0 || !w.current("1") || !w.current("2") {
					w.Errorf("released, there is %q", w.cluster.config)
				}
			})
		})
	}
}

// What a process has from elsewhere, and first, is not what is in its ConfigMap.
func TestWhatIsSetAboveAConfigMapIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		key  string
		over bool
	}{
		"a variable":               {"RESILIENCE4J_CIRCUITBREAKER_INSTANCES_WRAPPING_MINIMUMNUMBEROFCALLS", true},
		"with dashes":              {"resilience4j.circuitbreaker.instances.wrapping.minimum-number-of-calls", true},
		"with brackets":            {"resilience4j.circuitbreaker.instances[wrapping].minimumNumberOfCalls", true},
		"of another breaker":       {"resilience4j.circuitbreaker.instances.Wrapping.minimumNumberOfCalls", false},
		"another property":         {"resilience4j.circuitbreaker.instances.wrapping.slidingWindowSize", false},
		"a variable of no concern": {"RESILIENCE4J_VERSION", false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.cluster.reads, w.cluster.config = true, map[string]string{}
				g := newGifts(w, "1")
				g.environment = map[string]string{c.key: "20"}
				g.config = func() map[string]string { return w.cluster.properties("delivery.properties") }
				w.policies.publish(version(w.T, 1, "wrapping", governance.Rules{Breaker: &governance.Breaker{MinCalls: 7}}, ""))
				_, end := w.control()
				defer end()
				w.after(10 * time.Second)
				g.restart(w.cluster.pods["1"])
				g.call("wrapping", 1)
				w.after(20 * time.Second)
				i := w.instance("1")
				if !w.current("1") || (len(i.Applied.Unmet) == 1) != c.over {
					w.Fatalf("it applies %+v", i.Applied)
				}
				if c.over && !strings.Contains(i.Applied.Unmet[0].Reason, "minimumNumberOfCalls=7 is in ConfigMap delivery, but systemEnvironment has ") {
					w.Errorf("it says %q", i.Applied.Unmet[0].Reason)
				}
			})
		})
	}
}

func TestTheFirstSourceOfAPropertyWins(t *testing.T) {
	bubble(t, func(w *world) {
		const key, variable = "resilience4j.bulkhead.instances.a.maxConcurrentCalls", "RESILIENCE4J_BULKHEAD_INSTANCES_A_MAXCONCURRENTCALLS"
		source := func(name, key string) map[string]any {
			return map[string]any{"name": name, "properties": map[string]any{key: nil}}
		}
		ours := source("configmap.gifts.shop", key)
		for want, all := range map[string][]any{
			"":                      {ours, source("systemEnvironment", variable)}, // as with spring-cloud-starter-bootstrap
			"systemEnvironment":     {source("systemEnvironment", variable), ours},
			"configmap.shared.shop": {source("configmap.shared.shop", key), source("bootstrapProperties-configmap.gifts.gifts-prod.shop", key), ours},
		} {
			server := memhttp.Start(w.T, http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
				if err := json.NewEncoder(out).Encode(map[string]any{"propertySources": all}); err != nil {
					panic(err) // it ends the answer
				}
			}))
			m := &management{client: &http.Client{Transport: &http.Transport{DialContext: server.Dial, DisableKeepAlives: true}}, base: "http://x/actuator"}
			wins, err := m.configured(w.Context(), "gifts")
			if got := (&taken{wins: wins, first: true}); err != nil || got.over(key) != want || got.began(key) != (want == "") {
				w.Errorf("%q: %v, %v", want, wins, err)
			}
		}
	})
}

// properties are those of a document that is read.
func (c *cluster) properties(document string) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]string{}
	for line := range strings.Lines(c.config[document]) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && line[0] != '#' {
			out[strings.ReplaceAll(key, `\`, "")] = value
		}
	}
	return out
}

// refresh answers with the keys that have changed, as Spring's does.
func refresh(w http.ResponseWriter, before, after map[string]string) {
	var keys []string
	for key, value := range after {
		if before[key] != value {
			keys = append(keys, fmt.Sprintf("%q", key))
		}
	}
	fmt.Fprintf(w, "[%s]", strings.Join(keys, ","))
}
