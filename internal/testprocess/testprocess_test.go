package testprocess_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weirmesh/weir/internal/testprocess"
)

const env = "WEIR_TESTPROCESS_TEST"

func TestMain(m *testing.M) {
	switch os.Getenv(env) {
	case "fails":
		fmt.Println("it fails")
		os.Exit(3)
	case "stays":
		fmt.Println("it stays")
		<-time.After(time.Hour)
	}
	os.Exit(m.Run())
}

func TestProcess(t *testing.T) {
	fails := testprocess.Start(t, "fails", env+"=fails")
	fails.Ends(t)
	if err := fails.Err(); err == nil || err.Error() != "exit status 3" || fails.Output() != "it fails\n" {
		t.Errorf("it ended with %v and wrote %q", err, fails.Output())
	}
	stays := testprocess.Start(t, "stays", env+"=stays")
	stays.Says(t, "it stays")
	select {
	case <-stays.Done():
		t.Error("it ended")
	default:
	}
	stays.Stop(t)
	if err := stays.Err(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("it ended with %v", err)
	}
}
