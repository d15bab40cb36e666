//go:build !samefunctions

package pricing

import (
	"context"

	"github.com/afex/hystrix-go/hystrix"

	"github.com/weirmesh/weir/sdk"
	weirhystrix "github.com/weirmesh/weir/sdk/hystrix"
)

// Guard names the package that guards the supplier in this build.
const Guard = "hystrix-go, adopted"

// Join makes the commands of hystrix-go, which is called as it always was, heed
// policies and report.
func Join(kit *sdk.Kit) { weirhystrix.Adopt(kit) }

func guard(ctx context.Context, name string, run func(context.Context) error, fallback func(context.Context, error) error) error {
	return hystrix.DoC(ctx, name, run, fallback)
}
