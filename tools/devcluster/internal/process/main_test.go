package process

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

const (
	// The tests' children are this binary with a role.
	role = "PROCESS_TEST_ROLE"
	// asInit makes the tests start children as the first process of a process
	// namespace does. It reaps whatever ends, so it needs a process of its own.
	asInit = "PROCESS_TEST_AS_INIT"
)

var starter Starter = Direct{}

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		if os.Getenv(asInit) != "" {
			starter = NewInit()
		}
		// Init reaps for the life of its process.
		goleak.VerifyTestMain(m,
			goleak.IgnoreAnyFunction("github.com/weirmesh/weir/tools/devcluster/internal/process.NewInit.func1"),
			goleak.IgnoreTopFunction("os/signal.signal_recv"), goleak.IgnoreTopFunction("os/signal.loop"))
	case "fail":
		for i := range 10 {
			fmt.Printf("line %d\n", i)
		}
		os.Exit(3)
	case "serve":
		fmt.Println("serving")
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		<-stop
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ignoring")
		select {}
	case "long":
		fmt.Println(strings.Repeat("x", 3*maxLine))
		fmt.Println("after")
		os.Exit(3)
	}
	os.Exit(0)
}
