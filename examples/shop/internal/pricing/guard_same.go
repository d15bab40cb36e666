//go:build samefunctions

package pricing

import (
	"context"

	"github.com/weirmesh/weir/sdk"
	"github.com/weirmesh/weir/sdk/hystrix" // in place of github.com/afex/hystrix-go/hystrix
)

// Guard names the package that guards the supplier in this build.
const Guard = "sdk/hystrix"

// Join gives the functions the circuits of the process; the line is that of the
// other build.
func Join(kit *sdk.Kit) { hystrix.Adopt(kit) }

func guard(ctx context.Context, name string, run func(context.Context) error, fallback func(context.Context, error) error) error {
	return hystrix.DoC(ctx, name, run, fallback)
}
