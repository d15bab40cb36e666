package console_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/weirmesh/weir/internal/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testdb.Main(m)) }
