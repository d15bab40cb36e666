package dubbo

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
)

const (
	// maxOurs is less than a subscription or a watch takes, in bytes for each
	// reference: the last of them are on their way out.
	maxOurs = 160
	// maxTheirs is for what dubbo-go keeps of a destroyed reference, by its own
	// allocations, which docs/registry.md tells of.
	maxTheirs = 16 << 10
)

// A thousand references come and go, each with connections to a real provider. They
// leave nothing of this repository's, and over Triple no connection. Over the Dubbo
// protocol some leave one: dubbo-getty (v1.4.10) does not close a connection that it
// was making while its pool was closed, as each pool is here.
func TestAThousandReferencesLeaveNothing(t *testing.T) {
	const references = 1000
	for _, tc := range []struct {
		protocol, iface string
		left            int64 // connections that dubbo-go may leave
	}{
		{constant.TriProtocol, triple, 0},
		{constant.DubboProtocol, hessian, references},
	} {
		protocol, iface, left := tc.protocol, tc.iface, tc.left
		t.Run(protocol, func(t *testing.T) {
			world, _, relay := servedBy(t, protocol, iface)
			backend, _ := memoryBackend(t, world)
			b := newConsumer(t, backend, false).binding
			b.cfg.Linger = time.Millisecond
			b.cfg.SyncTimeout = deadline
			comeAndGo := func(n int64) {
				t.Helper()
				for range n {
					u, err := common.NewURL("registry://"+b.Name()+"."+namespace, common.WithParamsValue(constant.RegistryKey, b.Name()))
					if err != nil {
						t.Fatal(err)
					}
					u.SubURL = withoutStubsURL(iface, protocol)
					invoker := extension.GetProtocol(constant.RegistryProtocol).Refer(u)
					if invoker == nil {
						t.Fatal("a reference cannot be had")
					}
					eventually(t, "there is somebody to call", invoker.IsAvailable)
					invoker.Destroy()
				}
				eventually(t, "no connection is left", func() bool { return relay.open.Load() <= left })
				eventually(t, "nothing is held", func() bool {
					b.mu.Lock()
					defer b.mu.Unlock()
					b.held.mu.Lock()
					defer b.held.mu.Unlock()
					return len(b.subs)+len(b.watches)+len(b.held.held) == 0
				})
			}
			rate := runtime.MemProfileRate
			runtime.MemProfileRate = 1 // counts what is allocated from now on, all of it
			defer func() { runtime.MemProfileRate = rate }()
			comeAndGo(references/20 + 1) // for what is made once
			goBefore, before := runtime.NumGoroutine(), goroutines()
			oursBefore, theirsBefore := alive()
			comeAndGo(references)
			eventually(t, "none of our goroutines is left", func() bool { return goroutines() <= before })
			eventually(t, "no goroutine at all is left", func() bool { return runtime.NumGoroutine() <= goBefore+2+2*int(left) })
			var ours, theirs int64
			eventually(t, "no memory of ours is left", func() bool {
				ours, theirs = alive()
				return (ours-oursBefore)/references <= maxOurs
			})
			t.Logf("for each of %d references %d bytes of ours are alive, and %d of dubbo-go's; of %d connections %d are open",
				references, (ours-oursBefore)/references, (theirs-theirsBefore)/references, relay.accepted.Load(), relay.open.Load())
			if grown := (theirs - theirsBefore) / references; grown > maxTheirs {
				t.Errorf("each reference leaves %d bytes of dubbo-go's", grown)
			}
		})
	}
}

// alive returns the bytes that are reachable, by whether this repository allocated
// them or somebody else's package did.
func alive() (ours, theirs int64) {
	runtime.GC()
	runtime.GC()
	runtime.GC() // the profile is that of the last collection but one
	records := make([]runtime.MemProfileRecord, 1000)
	for {
		n, ok := runtime.MemProfile(records, false)
		if ok {
			records = records[:n]
			break
		}
		records = make([]runtime.MemProfileRecord, 2*n)
	}
	for i := range records {
		frames := runtime.CallersFrames(records[i].Stack())
		for {
			frame, more := frames.Next()
			first, _, ok := strings.Cut(frame.Function, "/")
			if ok && strings.Contains(first, ".") { // not the standard library
				switch {
				case !strings.HasPrefix(frame.Function, "github.com/weirmesh/weir/"):
					theirs += records[i].InUseBytes()
				case !strings.HasSuffix(frame.File, "_test.go"):
					ours += records[i].InUseBytes()
				}
				break
			}
			if !more {
				break
			}
		}
	}
	return ours, theirs
}
