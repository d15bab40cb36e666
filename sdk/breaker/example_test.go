package breaker_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/weirmesh/weir/governance"
	"github.com/weirmesh/weir/sdk/breaker"
)

func ExampleDo() {
	set := breaker.NewSet(breaker.Config{App: governance.App{Namespace: "shop", Name: "orders"}})
	defer set.Close()
	stock := set.Circuit(governance.Series{
		Command: "GET /stock/{sku}", At: governance.Caller, Peer: governance.App{Namespace: "shop", Name: "inventory"},
	}, breaker.WithSettings(governance.Rules{Breaker: &governance.Breaker{MinCalls: 3}}))

	for range 4 {
		left, err := breaker.Do(context.Background(), stock, func(context.Context) (int, error) {
			return 0, errors.New("connection refused")
		}, breaker.WithFallback(func(_ context.Context, err error) (int, error) {
			var refused *breaker.Refused
			if errors.As(err, &refused) {
				fmt.Println("not called, because", refused.Cause)
			}
			return 7, nil
		}))
		fmt.Println(left, err)
	}
	fmt.Println(stock.State())
	// Output:
	// 7 <nil>
	// 7 <nil>
	// 7 <nil>
	// not called, because 100 % of 3 calls failed in 10s, less than 50 % allowed
	// 7 <nil>
	// open
}

func ExampleCircuit_Begin() {
	set := breaker.NewSet(breaker.Config{App: governance.App{Namespace: "shop", Name: "inventory"}})
	defer set.Close()
	reserve := set.Circuit(governance.Series{Command: "reserve", At: governance.Provider},
		breaker.WithSettings(governance.Rules{Bulkhead: &governance.Bulkhead{Concurrent: 1}}))

	first, err := reserve.Begin(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = reserve.Begin(context.Background())
	var refused *breaker.Refused
	if errors.As(err, &refused) {
		fmt.Println(refused.Reason)
		fmt.Println(refused)
	}
	first.End(breaker.Success)
	// Output:
	// full
	// breaker: reserve has all 1 calls under way that are allowed
}
