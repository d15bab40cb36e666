package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/governance/governancetest"
	"github.com/weirmesh/weir/governance/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	t.Parallel()
	governancetest.Run(t, func(_ *testing.T, clock *governancetest.Clock) governancetest.Subject {
		return governancetest.Subject{Store: memory.New(memory.Options{Now: clock.Now})}
	})
}
