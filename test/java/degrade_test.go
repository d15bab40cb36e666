package java

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/weirmesh/weir/test/mesh"
)

// stock is what restock is told of an article: by inventory, or in its place.
type stock struct {
	Sku, ServedBy string
	Available     int32
}

// theSwitch is about calls of inventory's method stock that an application makes.
func (l line) theSwitch() string {
	return "shop/inventory.InventoryService.stock.caller." + l.restock() + ".switch"
}

// pull pulls it, and waits until the only instance has confirmed.
func (l line) pull(t *testing.T, answer ...string) {
	t.Helper()
	args := append([]string{
		"switch", "pull", "shop/inventory/InventoryService.stock", "--at", "caller", "--from", "shop/" + l.restock(),
		"--reason", "Java test", "--wait", "30s", "--timeout", "45s",
	}, answer...)
	mesh.Eventually(t, l.restock()+" is known to call inventory, and confirms", func() error {
		out, err := theMesh.TryAsk(t.Context(), args...)
		if err == nil && strings.Contains(out, "0 live instances") {
			return fmt.Errorf("it is not known yet:\n%s", out)
		}
		if err == nil && !strings.Contains(out, "confirmed by 1 of 1 instance") {
			err = mesh.Fatal(fmt.Errorf("%s has not confirmed:\n%s", l.restock(), out))
		}
		return err
	})
}

func (l line) release(t *testing.T) {
	t.Helper()
	out := theMesh.Ask(t, "switch", "release", "--wait", "30s", "--timeout", "45s", "--reason", "Java test", l.theSwitch())
	if !strings.Contains(out, "confirmed by 1 of 1 instance") {
		t.Errorf("%s has not confirmed the release:\n%s", l.restock(), out)
	}
}

// joined waits until the control plane knows the only pod of restock as an instance,
// and names it.
func (l line) joined(t *testing.T) string {
	t.Helper()
	name := pods(t, l.restock())[0].Metadata.Name
	l.more(t, l.stats(t), 5)
	mesh.Eventually(t, l.restock()+" is governed", func() error {
		out, err := theMesh.TryAsk(t.Context(), "events", "--app", "shop/"+l.restock(), "--kind", "instance.joined")
		if err == nil && !strings.Contains(out, name) {
			err = fmt.Errorf("%s has not joined:\n%s", name, out)
		}
		return err
	})
	return name
}

func (l line) stock(t *testing.T) stock {
	t.Helper()
	return ask[stock](t, l.restock(), "/stock/book")
}

// A switch that is pulled at the caller is obeyed by an unmodified Dubbo Java
// application from its next call on, with whatever it answers, until it is released;
// each time the application has confirmed it.
func TestDubboObeysASwitchAtTheCallerAndConfirmsIt(t *testing.T) {
	dubboTurns.take(t)
	eachLine(t, func(t *testing.T, l line) {
		l.joined(t)
		if got := l.stock(t); got.Sku != "book" || got.ServedBy == "" {
			t.Fatalf("inventory answers %+v", got)
		}
		l.pull(t, "--value", `{"sku":"book","available":7,"servedBy":"a switch"}`)
		if got := l.stock(t); got != (stock{"book", "a switch", 7}) {
			t.Errorf("with the switch pulled it gets %+v", got)
		}
		// Another method of the same interface goes on.
		l.fine(t, l.stats(t))
		l.pull(t)
		if status, text := l.refused(t); status != http.StatusBadGateway || !strings.Contains(text, "mocked exception for service degradation") {
			t.Errorf("a switch without an answer comes as %d %s", status, text)
		}
		l.release(t)
		if got := l.stock(t); got.ServedBy == "a switch" || got.Sku != "book" {
			t.Errorf("released, it gets %+v", got)
		}
	})
}

// refused asks for what there is no answer to.
func (l line) refused(t *testing.T) (status int, text string) {
	t.Helper()
	resp, err := storefront(t.Context(), net.JoinHostPort(pods(t, l.restock())[0].Status.PodIP, adminPort), "/stock/book")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// A pod that starts while a switch is pulled obeys it from its first call on.
func TestDubboObeysASwitchAfterARestart(t *testing.T) {
	dubboTurns.take(t)
	eachLine(t, func(t *testing.T, l line) {
		before := l.joined(t)
		l.pull(t, "--value", `{"sku":"book","available":8,"servedBy":"a switch"}`)
		restart(t, l.restock())
		if got := l.stock(t); got != (stock{"book", "a switch", 8}) {
			t.Errorf("the new pod gets %+v", got)
		}
		name := l.joined(t)
		if name == before {
			t.Fatalf("%s is no new pod", name)
		}
		mesh.Eventually(t, "the new pod alone counts, and has confirmed", func() error {
			out, err := theMesh.TryAsk(t.Context(), "policy", "status", l.theSwitch())
			if err == nil && (strings.Contains(out, before) || !strings.Contains(out, name) || !strings.Contains(out, "1 of 1 confirmed")) {
				err = fmt.Errorf("it is\n%s", out)
			}
			return err
		})
		l.release(t)
		if got := l.stock(t); got.ServedBy == "a switch" {
			t.Errorf("released, the new pod gets %+v", got)
		}
	})
}
