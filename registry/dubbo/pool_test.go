package dubbo

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/remoting/getty"
)

// The connections of a pool are all made while its provider is still new: one that
// ends would close those that come later at once, and each would be made again.
func TestAPoolIsFullBeforeItsProviderEnds(t *testing.T) {
	if raceDetector {
		t.Skip("dubbo-getty v1.4.10 has data races of its own, which would be reported as this package's")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepted atomic.Int64
	conns := make(chan net.Conn, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			conns <- c
		}
	}()
	defer func() {
		l.Close()
		<-done
		close(conns)
		for c := range conns {
			c.Close()
		}
	}()
	u := common.NewURLWithOptions(common.WithProtocol(constant.DubboProtocol), common.WithParamsValue(constant.InterfaceKey, "org.example.Any"))
	u.Location = l.Addr().String()
	invoker := refer(u)
	if invoker == nil {
		t.Fatal("nothing was connected")
	}
	defer invoker.Destroy()
	usual := getty.GetDefaultClientConfig().ConnectionNum
	eventually(t, "the pool is full", func() bool { return accepted.Load() >= int64(usual) })

	// What it takes at most until the pool is full, dials aside, is less than a
	// connection is kept that nobody uses any more.
	var takes time.Duration
	for n := range usual {
		takes += time.Duration(min(n+1, 10)) * fill * time.Millisecond
	}
	if takes >= (Config{}).withDefaults().Linger {
		t.Errorf("a pool takes %v to fill", takes)
	}
}
