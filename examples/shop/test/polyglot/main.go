// Polyglot takes both parts that Java takes in examples/java/dubbo: it provides
// the catalogue, over Dubbo and over Triple, and asks another application's. It
// is how tests see what travels between Go and Java, and what does not.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"sync"
	"time"

	"dubbo.apache.org/dubbo-go/v3"
	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/server"

	"shop.example/api/catalogue"
	"shop.example/internal/process"
	"shop.example/internal/rpc"
	"shop.example/internal/web"
)

func main() {
	process.Main("polyglot", "polyglot provides "+catalogue.Interface+", and asks another's: GET /inspect?of=APP&over=dubbo|tri, GET /article/{sku}?of=APP&over=dubbo|tri.",
		func(fs *flag.FlagSet) func(context.Context, *process.Process) error {
			listen := fs.String("listen", ":20000", "`host:port` for Dubbo calls")
			triple := fs.String("triple-listen", ":20001", "`host:port` for Triple calls")
			probe := fs.Int("probe-port", 22222, "`port` of dubbo-go's own probes")
			web := fs.String("http-listen", ":8080", "`host:port` for HTTP requests")
			return func(ctx context.Context, p *process.Process) error {
				cfg := p.RPC()
				cfg.Protocol, cfg.Listen, cfg.Triple, cfg.ProbePort = constant.DubboProtocol, *listen, *triple, *probe
				ins, err := rpc.New(cfg)
				if err != nil {
					return err
				}
				srv, err := ins.NewServer(rpc.ServerFilter())
				if err != nil {
					return err
				}
				if err := srv.RegisterService(newArticles(p.Instance), server.WithInterface(catalogue.Interface)); err != nil {
					return err
				}
				// Another version in another group: the outlet, where all costs half.
				if err := srv.RegisterService(newArticles(p.Instance).outlet(), server.WithInterface(catalogue.Interface),
					server.WithGroup("outlet"), server.WithVersion("2.0.0")); err != nil {
					return err
				}
				serving, stop := context.WithCancel(ctx)
				defer stop()
				asked := make(chan error, 1)
				go func() {
					defer stop()
					shelves := &shelves{ins: ins, direct: p.Registry == rpc.Direct, asked: map[string]*shelf{}}
					asked <- p.ServeHTTP(serving, *web, shelves.handler())
				}()
				p.ReadyWhen(rpc.Registered)
				err = rpc.Serve(serving, srv)
				stop()
				if herr := <-asked; err == nil {
					err = herr
				}
				return err
			}
		})
}

// shelves are the catalogues that are asked, each dialled when it is first asked for.
type shelves struct {
	ins    *dubbo.Instance
	direct bool // without a registry: they are named by their addresses

	mu    sync.Mutex
	asked map[string]*shelf
}

func (s *shelves) handler() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /inspect", s.with(func(r *http.Request, to *shelf) (any, error) {
		return to.inspect(r.Context()), nil
	}))
	mux.HandleFunc("GET /article/{sku}", s.with(func(r *http.Request, to *shelf) (any, error) {
		return to.articles.Article(r.Context(), r.PathValue("sku"), client.WithCallRetries(2))
	}))
	// As one of the carriers that delivery asks (examples/java/spring-hystrix), where the
	// Service of their name leads here.
	mux.HandleFunc("GET /quotes/{sku}", func(w http.ResponseWriter, _ *http.Request) {
		web.JSON(w, http.StatusOK, map[string]any{"carrier": "gopher", "days": 1})
	})
	return mux
}

// with answers of the catalogue that a request names.
func (s *shelves) with(answer func(*http.Request, *shelf) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		to, err := s.of(r.FormValue("of"), r.FormValue("over"))
		var a any
		if err == nil {
			a, err = answer(r, to)
		}
		if err != nil {
			web.JSON(w, http.StatusBadGateway, map[string]string{"error": err.Error()})
			return
		}
		web.JSON(w, http.StatusOK, a)
	}
}

func (s *shelves) of(app, over string) (*shelf, error) {
	if over != constant.DubboProtocol && over != constant.TriProtocol || app == "" {
		return nil, fmt.Errorf("want ?of=APP&over=%s or %s", constant.DubboProtocol, constant.TriProtocol)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.asked[over+app]; found != nil {
		return found, nil
	}
	cli, err := s.ins.NewClient(client.WithClientSerialization(constant.Hessian2Serialization),
		client.WithClientRequestTimeout(3*time.Second), client.WithClientNoCheck())
	if err != nil {
		return nil, err
	}
	to := client.WithProvidedBy(app)
	if s.direct {
		to = client.WithURL(over + "://" + app)
	}
	dial := func(opts ...client.ReferenceOption) (*client.Connection, error) {
		return rpc.Dial(func() (*client.Connection, error) {
			return cli.Dial(catalogue.Interface, append(opts, to, client.WithProtocol(over),
				client.WithIDL(constant.NONIDL))...) //nolint:staticcheck // Triple without generated stubs still needs it
		})
	}
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	outlet, err := dial(client.WithGroup("outlet"), client.WithVersion("2.0.0"))
	if err != nil {
		return nil, err
	}
	s.asked[over+app] = &shelf{conn: conn, articles: catalogue.NewClient(conn), outlet: catalogue.NewClient(outlet)}
	return s.asked[over+app], nil
}
