package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/filter/generic"
	hessian "github.com/apache/dubbo-go-hessian2"
	"github.com/dubbogo/gost/log/logger"

	getty "github.com/apache/dubbo-getty"

	"github.com/weirmesh/weir/gateway"
	"github.com/weirmesh/weir/gateway/dubbo"
)

// callers is how many calls are under way at once.
const callers = 64

// BenchmarkCall compares, at one provider and in one run, the CPU that a call
// costs its caller: by a route of the gateway, HTTP and JSON and all, and by
// dubbo-go's generic client, which is given its arguments as Go values.
func BenchmarkCall(b *testing.B) {
	for _, protocol := range []string{"dubbo", "tri"} {
		_, port := startProbe(b, protocol, "a")
		w := newWorld(b, dubbo.Config{})
		w.put("a", protocol, port)
		h := w.compile(probe, "person", []gateway.Arg{arg("org.example.Person", "body")})
		const body = `{"name":"bob","age":42,"weight":70.25,"admin":true,"tags":["a","b"],"home":{"street":"x","zip":7}}`
		b.Run(protocol+"/weir", func(b *testing.B) {
			perCall(b, func() error {
				r := httptest.NewRequest(http.MethodPost, "/", io.NopCloser(bytes.NewReader([]byte(body))))
				rec := discard{header: http.Header{}}
				h.ServeHTTP(&rec, r)
				if rec.status != http.StatusOK {
					return fmt.Errorf("status %d", rec.status)
				}
				return nil
			})
		})
		if protocol != "dubbo" {
			continue
		}
		b.Run(protocol+"/dubbo-go", func(b *testing.B) {
			_ = logger.SetLoggerLevel("error") // or each call writes a line
			_ = getty.SetLoggerLevel(getty.LoggerLevelError)
			service := genericClient(b, port)
			args := map[string]any{
				"class": "org.example.Person", "name": "bob", "age": int32(42), "weight": 70.25, "admin": true,
				"tags": []string{"a", "b"}, "home": map[string]any{"street": "x", "zip": int32(7)},
			}
			perCall(b, func() error {
				ctx := context.WithValue(context.Background(), constant.AttachmentKey, map[string]any{"timeout": "10s"})
				_, err := service.Invoke(ctx, "person", []string{"org.example.Person"}, []hessian.Object{args})
				return err
			})
		})
	}
}

var genericOnce sync.Map

func genericClient(b *testing.B, port int) *generic.GenericService {
	if s, ok := genericOnce.Load(port); ok {
		return s.(*generic.GenericService) //nolint:forcetypeassert // nothing else is put there
	}
	cli, err := client.NewClient()
	if err != nil {
		b.Fatal(err)
	}
	service, err := cli.NewGenericService(probe, client.WithURL(fmt.Sprint("dubbo://127.0.0.1:", port)),
		client.WithProtocolDubbo(), client.WithSerialization(constant.Hessian2Serialization), client.WithRetries(0))
	if err != nil {
		b.Fatal(err)
	}
	genericOnce.Store(port, service)
	return service
}

type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

func perCall(b *testing.B, call func() error) {
	b.Helper()
	if err := call(); err != nil { // connects
		b.Fatal(err)
	}
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	before := cpu(b)
	for range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
