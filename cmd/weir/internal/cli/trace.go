package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/cmd/weir/internal/view"
	"github.com/weirmesh/weir/tracing"
	"github.com/weirmesh/weir/tracing/query"
)

// DefaultTracingServer is where a `weir up` on this machine answers for traces.
const DefaultTracingServer = "http://127.0.0.1:9411"

// traceConfig are the settings of the trace commands. They ask Zipkin's API, which
// wants no token.
type traceConfig struct {
	Server  string
	Timeout time.Duration
}

func traceDefaults() *traceConfig {
	return &traceConfig{Server: DefaultTracingServer, Timeout: 15 * time.Second}
}

func (c *traceConfig) flags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Server, "tracing-server", c.Server, "address of the tracing server")
	fs.DurationVar(&c.Timeout, "timeout", c.Timeout, "how long to wait for an answer")
}

func (c *traceConfig) validate() error {
	u, err := url.Parse(c.Server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("--tracing-server %s is no address: give one such as %s", c.Server, DefaultTracingServer)
	}
	if c.Timeout <= 0 {
		return fmt.Errorf("--timeout %s leaves no time for an answer: give a duration such as 10s", c.Timeout)
	}
	return nil
}

func (m *Main) traceCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "trace",
		Short: "Show traces: one as a tree, or those that match",
		Long: `Trace reads what the tracing server has stored. Anything that answers Zipkin's
API v2 can be asked.`,
		Example: `  weir trace search --service orders --tag error
  weir trace get 463ac35c9f6413ad48485a3953bb6124`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(m.traceGet(), m.traceSearch())
	return c
}

// withTracing loads the settings and hands over what asks the server.
func (m *Main) withTracing(c *cobra.Command, cfg *traceConfig, fs *pflag.FlagSet, ask func(context.Context, *tracingClient) error) error {
	if _, err := m.load(c, fs); err != nil {
		return err
	}
	if err := cfg.validate(); err != nil {
		return usage(err)
	}
	t := &tracingClient{base: strings.TrimSuffix(cfg.Server, "/"), timeout: cfg.Timeout, http: &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}}
	defer t.http.CloseIdleConnections()
	return ask(c.Context(), t)
}

// tracingClient asks a tracing server.
type tracingClient struct {
	base    string
	timeout time.Duration
	http    *http.Client
}

// errNotThere means that the server answered 404.
var errNotThere = errors.New("it is not there")

// maxTraces bounds what is read of an answer.
const maxTraces = 512 << 20

func (t *tracingClient) get(ctx context.Context, path string, q url.Values) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, t.timeout, fmt.Errorf("%s gave no answer within %s; --timeout gives more", t.base, t.timeout))
	defer cancel()
	address := t.base + path
	if len(q) > 0 {
		address += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, nil, fmt.Errorf("ask %s: %w", t.base, err)
	}
	resp, err := t.http.Do(req)
	if err != nil {
		return nil, nil, t.away(ctx, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxTraces))
	switch {
	case err != nil:
		return nil, nil, t.away(ctx, err)
	case resp.StatusCode == http.StatusNotFound:
		return nil, nil, errNotThere
	case resp.StatusCode != http.StatusOK:
		text := strings.TrimSpace(string(raw[:min(len(raw), 1000)]))
		return nil, nil, fmt.Errorf("%s refused (%s): %s", t.base, resp.Status, cmp.Or(text, "it does not say why"))
	}
	return raw, resp.Header, nil
}

func (t *tracingClient) away(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return coded(ExitLacking, cause)
	}
	why := "it does not answer (" + err.Error() + ")"
	if errors.Is(err, syscall.ECONNREFUSED) {
		why = "nothing listens there"
	}
	return coded(ExitLacking, fmt.Errorf("there is no tracing server at %s: %s; start one with `weir up`, or name yours with --tracing-server", t.base, why))
}

func (m *Main) traceGet() *cobra.Command {
	cfg, fs := traceSettings()
	c := &cobra.Command{
		Use:   "get ID",
		Short: "Show one trace as a tree of its spans",
		Long: `Get shows the spans of a trace below those that called them: which service, what
it did, on which side of a call, when after the beginning, for how long, and
whether it failed. Events within a span stand below it, after a dot. Times are
those of the services' own clocks.`,
		Example: `  weir trace get 463ac35c9f6413ad48485a3953bb6124
  weir trace get 463ac35c9f6413ad -o json`,
		Args: cobra.ExactArgs(1),
	}
	addSettings(c, fs)
	format := output(c, view.Formats...)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := tracing.ParseTraceID(strings.TrimSpace(args[0]))
		if err != nil {
			return usage(fmt.Errorf("%q is no trace id (%w): give 1 to 32 lower-case hex digits", args[0], err))
		}
		return m.withTracing(c, cfg, fs, func(ctx context.Context, t *tracingClient) error {
			raw, _, err := t.get(ctx, "/api/v2/trace/"+id.String(), nil)
			if errors.Is(err, errNotThere) {
				return fmt.Errorf("there is no trace %s at %s: it may not have been sampled, its spans may still be on their way, or it may be older than what is kept", id, t.base)
			}
			if err != nil {
				return err
			}
			if *format != view.Table {
				return view.Encode(m.Stdout, *format, json.RawMessage(raw))
			}
			spans, err := tracing.DecodeJSON(raw)
			if err != nil {
				return fmt.Errorf("%s answered what this weir does not understand: %w", t.base, err)
			}
			return writeTrace(m.Stdout, spans)
		})
	}
	return c
}

func traceSettings() (*traceConfig, *pflag.FlagSet) {
	cfg := traceDefaults()
	fs := pflag.NewFlagSet("trace", pflag.ContinueOnError)
	cfg.flags(fs)
	return cfg, fs
}

// writeTrace writes the tree of one trace.
func writeTrace(w io.Writer, spans []tracing.Span) error {
	root := tracing.Tree(spans)
	if root == nil {
		return errors.New("the trace has no spans")
	}
	sum := summarize(spans)
	if _, err := fmt.Fprintf(w, "trace %s   %s, %s of %s, began %s\n\n", sum.TraceID, microseconds(sum.Duration),
		view.Plural(sum.Spans, "span", "spans"), view.Plural(len(sum.Services), "service", "services"), when(sum.began)); err != nil {
		return err
	}
	var rows []view.Row
	shown := 0
	var add func(n *tracing.Node, own, below string)
	add = func(n *tracing.Node, own, below string) {
		if n.Span == nil {
			rows = append(rows, view.Row{own + "(the span that began this was not sent)", "", "", "", ""})
		} else {
			shown++
			rows = append(rows, spanRow(n.Span, own, sum.began))
			bar := below + "   "
			if len(n.Children) > 0 {
				bar = below + "│  "
			}
			for _, a := range n.Span.Annotations {
				rows = append(rows, view.Row{bar + "· " + cell(a.Value), "", offset(a.Timestamp, sum.began), "", ""})
			}
		}
		for i, child := range n.Children {
			// A chain of a hundred thousand spans would be mostly indent.
			if len([]rune(below)) >= 3*maxIndent {
				add(child, below+"… ", below)
				continue
			}
			if i == len(n.Children)-1 {
				add(child, below+"└─ ", below+"   ")
			} else {
				add(child, below+"├─ ", below+"│  ")
			}
		}
	}
	add(root, "", "")
	if err := view.WriteTable(w, view.Row{"SPAN", "KIND", "AT", "TOOK", "ERROR"}, rows); err != nil {
		return err
	}
	if left := len(tracing.Merge(spans)) - shown; left > 0 {
		_, err := fmt.Fprintf(w, "\n%s no place in the tree: ids are each other's ancestors, or taken twice; -o json shows all\n", view.Plural(left, "span has", "spans have"))
		return err
	}
	return nil
}

// maxIndent is how many levels of a tree are indented.
const maxIndent = 60

func spanRow(s *tracing.Span, prefix string, began int64) view.Row {
	text := cmp.Or(s.Local.Service, "?") + "  " + cmp.Or(s.Name, "-")
	if s.Remote.Service != "" && s.Kind != tracing.Server {
		text += " → " + s.Remote.Service
	}
	took := "-"
	if s.Duration > 0 {
		took = microseconds(s.Duration)
	}
	failed := ""
	if v, ok := s.Tag("error"); ok {
		failed = cmp.Or(cell(v), "yes")
	}
	return view.Row{prefix + cell(text), strings.ToLower(s.Kind.String()), offset(s.Timestamp, began), took, failed}
}

// cell keeps a text that others wrote from breaking the table, or the terminal,
// and cuts it to what a column has room for.
func cell(s string) string {
	const most = 100
	s = strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 { // the last two turn the direction of the line
			return ' '
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}

// offset is a time as the distance from the beginning, in microseconds both.
func offset(at, began int64) string {
	switch {
	case at == 0 || began == 0:
		return "-"
	case at < began:
		return "-" + microseconds(began-at)
	}
	return "+" + microseconds(at-began)
}

// microseconds writes microseconds with three digits or so.
func microseconds(micros int64) string {
	d := time.Duration(min(micros, math.MaxInt64/1000)) * time.Microsecond
	switch {
	case d >= 10*time.Second:
		d = d.Round(100 * time.Millisecond)
	case d >= time.Second:
		d = d.Round(10 * time.Millisecond)
	case d >= 10*time.Millisecond:
		d = d.Round(100 * time.Microsecond)
	case d >= time.Millisecond:
		d = d.Round(10 * time.Microsecond)
	}
	return d.String()
}

func when(micros int64) string {
	if micros == 0 {
		return "at an unknown time"
	}
	return time.UnixMicro(micros).Local().Format("2006-01-02 15:04:05.000")
}

// summary is one trace in a list.
type summary struct {
	TraceID  string
	Duration int64 // microseconds from the first to the last moment of any span
	Spans    int
	Services []string
	Root     string
	Errors   int
	began    int64
}

func summarize(spans []tracing.Span) summary {
	s := summary{TraceID: spans[0].TraceID.String(), Spans: len(spans), began: tracing.TraceTime(spans)}
	services := make(map[string]bool)
	var first, last int64
	for i := range spans {
		span := &spans[i]
		if span.Local.Service != "" {
			services[span.Local.Service] = true
		}
		if _, failed := span.Tag("error"); failed {
			s.Errors++
		}
		if span.Timestamp != 0 {
			if first == 0 || span.Timestamp < first {
				first = span.Timestamp
			}
			last = max(last, span.Timestamp+min(span.Duration, math.MaxInt64-span.Timestamp))
		}
	}
	s.Duration = last - first
	s.Services = slices.Sorted(maps.Keys(services))
	for n := range tracing.Tree(spans).All() {
		s.Root = cmp.Or(n.Span.Local.Service, "?") + " " + cmp.Or(n.Span.Name, "-")
		break
	}
	return s
}

func (m *Main) traceSearch() *cobra.Command {
	cfg, fs := traceSettings()
	c := &cobra.Command{
		Use:   "search",
		Short: "List the traces that match, the newest first",
		Long: `Search lists traces that began within --lookback before now. With --service,
spans of that service have to meet every other condition, though not all by one
span. --tag takes key=value, or a key alone, which also finds the text of an
event; several must all be met.`,
		Example: `  weir trace search --service orders
  weir trace search --service orders --tag error --lookback 24h
  weir trace search --tag http.status_code=503 --min-duration 200ms --limit 50 -o json`,
		Args: cobra.NoArgs,
	}
	addSettings(c, fs)
	var service, span string
	var tags []string
	var minimum time.Duration
	lookback, limit := time.Hour, 20
	c.Flags().StringVar(&service, "service", "", "service that has to meet the other conditions (default: any)")
	c.Flags().StringVar(&span, "span", "", "name of a span")
	c.Flags().StringArrayVar(&tags, "tag", nil, "tag as key=value, or its key; may be repeated")
	c.Flags().DurationVar(&minimum, "min-duration", 0, "duration that a span has to have at least")
	c.Flags().DurationVar(&lookback, "lookback", lookback, "how long ago a trace may have begun")
	c.Flags().IntVar(&limit, "limit", limit, "how many traces to list at most")
	format := output(c, view.Formats...)
	c.RunE = func(c *cobra.Command, _ []string) error {
		q, err := searchQuery(service, span, tags, minimum, lookback, limit)
		if err != nil {
			return usage(err)
		}
		return m.withTracing(c, cfg, fs, func(ctx context.Context, t *tracingClient) error {
			raw, header, err := t.get(ctx, "/api/v2/traces", q)
			if errors.Is(err, errNotThere) {
				return fmt.Errorf("%s does not answer Zipkin's API v2: name a tracing server with --tracing-server", t.base)
			}
			if err != nil {
				return err
			}
			if cut := header.Get(query.CutHeader); cut != "" {
				fmt.Fprintln(m.Stderr, "the list may be incomplete:", cut)
			}
			if *format != view.Table {
				return view.Encode(m.Stdout, *format, json.RawMessage(raw))
			}
			return m.listTraces(t.base, raw)
		})
	}
	return c
}

func searchQuery(service, span string, tags []string, minimum, lookback time.Duration, limit int) (url.Values, error) {
	switch {
	case lookback < time.Millisecond:
		return nil, fmt.Errorf("--lookback %s leaves nothing to look at: give a duration such as 1h", lookback)
	case limit < 1:
		return nil, fmt.Errorf("--limit %d: give 1 or more", limit)
	case minimum < 0:
		return nil, fmt.Errorf("--min-duration %s: give a duration such as 100ms", minimum)
	}
	q := url.Values{"lookback": {strconv.FormatInt(lookback.Milliseconds(), 10)}, "limit": {strconv.Itoa(limit)}}
	setIf(q, "serviceName", service)
	setIf(q, "spanName", span)
	for _, tag := range tags {
		if strings.Contains(tag, " and ") {
			return nil, fmt.Errorf("--tag %q: \" and \" cannot be part of a condition; give --tag twice", tag)
		}
	}
	setIf(q, "annotationQuery", strings.Join(tags, " and "))
	if minimum > 0 {
		q.Set("minDuration", strconv.FormatInt(max(1, minimum.Microseconds()), 10))
	}
	return q, nil
}

func (m *Main) listTraces(base string, raw []byte) error {
	var lists []json.RawMessage
	if err := json.Unmarshal(raw, &lists); err != nil {
		return fmt.Errorf("%s answered what this weir does not understand: %w", base, err)
	}
	rows := make([]view.Row, 0, len(lists))
	for _, list := range lists {
		spans, err := tracing.DecodeJSON(list)
		if err != nil {
			return fmt.Errorf("%s answered what this weir does not understand: %w", base, err)
		}
		if len(spans) == 0 {
			continue
		}
		s := summarize(spans)
		failed := ""
		if s.Errors > 0 {
			failed = strconv.Itoa(s.Errors)
		}
		rows = append(rows, view.Row{s.TraceID, when(s.began), microseconds(s.Duration), strconv.Itoa(s.Spans), failed, cell(s.Root), cell(strings.Join(s.Services, ", "))})
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(m.Stdout, "no trace matches; --lookback looks further back")
		return err
	}
	return view.WriteTable(m.Stdout, view.Row{"TRACE", "BEGAN", "TOOK", "SPANS", "ERRORS", "ROOT", "SERVICES"}, rows)
}
