package test

import (
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"shop.example/api/inventory"
	"shop.example/api/orders"
	"shop.example/internal/tally"
)

// placed waits until load has placed n orders more than it had.
func placed(t *testing.T, load *program, n int64) stats {
	t.Helper()
	before := load.stats(t).Made.OK
	var s stats
	eventually(t, fmt.Sprint(n, " more orders"), func() error {
		if s = load.stats(t); s.Made.OK < before+n {
			return fmt.Errorf("%d of %d, %d failed", s.Made.OK-before, n, s.Made.Failed)
		}
		return nil
	})
	return s
}

func peer(s tally.Stats, address string) tally.Peer {
	for _, p := range s.Peers {
		if p.Address == address {
			return p
		}
	}
	return tally.Peer{}
}

func TestOrdersFlowAndAreCountedOnBothSides(t *testing.T) {
	s := open(t)
	load := s.load(t)
	placed(t, load, 100)
	load.stop(t)

	o := s.orders.stats(t)
	if o.Served.Failed != 0 || o.Made.Failed != 0 || o.Attempts.Failed != 0 {
		t.Errorf("failures at orders: served %v, made %v, attempts %v", o.Served.ByClass, o.Made.ByClass, o.Attempts.ByClass)
	}
	if o.Served.OK < 100 || o.Made.OK != o.Served.OK || o.Attempts.OK != o.Made.OK {
		t.Errorf("orders served %d, made %d calls in %d attempts", o.Served.OK, o.Made.OK, o.Attempts.OK)
	}
	for address, p := range map[string]*program{s.addressA: s.a, s.addressB: s.b} {
		seen, own := peer(o.Attempts, address), p.stats(t)
		if seen.Instance != p.name || seen.OK == 0 || seen.OK != own.Served.OK {
			t.Errorf("orders counts %d answers of %q at %s; %s itself %d", seen.OK, seen.Instance, address, p.name, own.Served.OK)
		}
	}
	list := o.Providers[inventory.Interface]
	want := []string{s.addressA, s.addressB}
	slices.Sort(want)
	if !slices.Equal(list.Current, want) || list.TimesEmpty != 0 {
		t.Errorf("orders' list of inventory %+v, want %v", list, want)
	}
	code, body, err := s.orders.get("/metrics")
	if err != nil || code != 200 {
		t.Fatal(code, err)
	}
	for _, want := range []string{
		`shop_calls_total{class="",kind="served",method="PlaceOrder",peer=""}`,
		`shop_calls_total{class="",kind="attempt",method="reserve",peer="` + s.addressA + `"}`,
		`shop_providers{interface="` + inventory.Interface + `"} 2`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// An orderly end of one of two instances must cost nothing, registry or not.
func TestOrderlyEndLosesNoCall(t *testing.T) {
	s := open(t)
	load := s.load(t)
	placed(t, load, 50)
	s.b.stop(t)
	after := placed(t, load, 100)
	if after.Made.Failed != 0 || after.Load.Shed != 0 {
		t.Errorf("%d orders failed (%v), %d shed: %+v", after.Made.Failed, after.Made.ByClass, after.Load.Shed, after.Made.Failures)
	}
}

// A killed instance takes with it what it was working on, and nothing else; the
// counts say which calls those were. It is one of three: nobody takes a dead one
// off a list of addresses, and where every second attempt fails, it is a matter of
// chance whether orders' circuit, which half of them opens, refuses the others.
func TestKilledInstanceLosesOnlyWhatWasUnderWay(t *testing.T) {
	s := open(t, "inv-c")
	load := s.load(t)
	placed(t, load, 50)
	if peer(s.orders.stats(t).Attempts, s.addressB).OK == 0 {
		placed(t, load, 50)
	}
	killed := time.Now()
	if err := s.b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.b.ended
	ended := time.Now()
	after := placed(t, load, 200)
	for _, f := range after.Made.Failures {
		if f.Started.After(ended) {
			t.Errorf("an order placed after the kill failed: %+v", f)
		}
	}
	for _, f := range s.orders.stats(t).Made.Failures {
		if f.Started.After(ended) {
			t.Errorf("a reservation made after the kill failed: %+v", f)
		}
	}
	o := s.orders.stats(t)
	for _, f := range slices.Concat(o.Made.Failures, o.Attempts.Failures) {
		if f.Ended.After(killed) && (f.Address != s.addressB || f.Instance != "inv-b") {
			t.Errorf("a call to %q at %s failed, though inv-b at %s was killed: %+v", f.Instance, f.Address, s.addressB, f)
		}
	}
}

// call has the caller make one call, and decodes its answer into one, if given.
func call(t *testing.T, url, method, sku string, count int, answer any) (result struct {
	Answer                        json.RawMessage
	Error, Class, Code, Exception string
}) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), caller, "-url", url, "-method", method, "-sku", sku, "-count", fmt.Sprint(count)).Output()
	if err == nil {
		err = json.Unmarshal(out, &result)
	}
	if err == nil && answer != nil && result.Error == "" {
		err = json.Unmarshal(result.Answer, answer)
	}
	if err != nil {
		t.Fatalf("%s at %s: %v: %s", method, url, err, out)
	}
	return result
}

func TestBusinessAnswersAreTold(t *testing.T) {
	s := open(t)
	url := "tri://" + s.addressOf
	var order orders.PlaceOrderResponse
	if r := call(t, url, orders.MethodPlaceOrder, "book", 2, &order); r.Error != "" || !order.Accepted || order.OrderId == "" || order.ServedBy != "ord-a" ||
		!strings.HasPrefix(order.InventoryServedBy, "inv-") || order.Remaining != 99998 || order.InventoryAttempts != 1 {
		t.Errorf("order: %+v", r)
	}
	order.Reset()
	if r := call(t, url, orders.MethodPlaceOrder, "book", 1e6, &order); r.Error != "" || order.Accepted || order.OrderId != "" {
		t.Errorf("order of too many: %+v", r)
	}
	var have orders.GetAvailabilityResponse
	if r := call(t, url, orders.MethodGetAvailability, "pen", 0, &have); r.Error != "" || have.Available != 100000 {
		t.Errorf("availability: %+v", r)
	}
	if r := call(t, url, orders.MethodPlaceOrder, "unicorn", 1, nil); r.Code != "not_found" || r.Class != "business" || !strings.Contains(r.Error, "unicorn") {
		t.Errorf("order of an unknown article: %+v", r)
	}
	if r := call(t, url, orders.MethodPlaceOrder, "book", 0, nil); r.Code != "invalid_argument" || r.Class != "business" {
		t.Errorf("order of nothing: %+v", r)
	}
	if got := s.orders.stats(t).Served.ByClass; got["business"] != 2 {
		t.Errorf("orders counts %v", got)
	}

	// What Java would see of inventory, the class of its exception too.
	url = "dubbo://" + s.addressA
	var r inventory.Reservation
	if got := call(t, url, inventory.MethodReserve, "lamp", 3, &r); got.Error != "" || !r.Reserved || r.Buyer == nil || r.Buyer.Name != "Ada" ||
		r.ServedBy != "inv-a" || r.Remaining != 99997 || r.Expires.IsZero() {
		t.Errorf("reservation: %+v", got)
	}
	var stock inventory.Stock
	if got := call(t, url, inventory.MethodStock, "lamp", 0, &stock); got.Error != "" || stock.Available != 99997 || stock.Reserved != 3 {
		t.Errorf("stock: %+v", got)
	}
	if got := call(t, url, inventory.MethodStock, "unicorn", 0, nil); got.Exception != "org.example.shop.UnknownSkuException" ||
		got.Class != "business" || !strings.Contains(got.Error, "unicorn") {
		t.Errorf("unknown article: %+v", got)
	}
}

func TestMistakesGetOneSentence(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		program string
		args    []string
		want    string
	}{
		"port taken":        {"inventory", []string{"-registry", "direct", "-listen", taken.Addr().String()}, "choose another with -listen"},
		"admin port taken":  {"inventory", []string{"-registry", "direct", "-admin-address", taken.Addr().String()}, "-admin-address"},
		"no addresses":      {"orders", []string{"-registry", "direct", "-listen", freeAddress(t)}, "set -inventory"},
		"no such registry":  {"load", []string{"-registry", "zookeeper"}, "zookeeper"},
		"not an address":    {"load", []string{"-registry", "direct", "-orders", "localhost"}, "tri://127.0.0.1:20001"},
		"nonsense for rate": {"load", []string{"-rate", "fast"}, "fast"},
	} {
		t.Run(name, func(t *testing.T) {
			args := c.args
			if !slices.Contains(args, "-admin-address") {
				args = append(args, "-admin-address", "127.0.0.1:0")
			}
			cmd := exec.CommandContext(t.Context(), filepath.Join(bin, c.program), args...)
			cmd.Dir, cmd.Env = t.TempDir(), []string{}
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatal("it did not mind")
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			last := lines[len(lines)-1]
			if !strings.Contains(last, c.want) || strings.Contains(string(out), "goroutine ") || strings.Contains(string(out), ".go:") {
				t.Errorf("last words %q; want one with %q, and no stack:\n%s", last, c.want, out)
			}
		})
	}
}
