package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/protocol/dubbo/hessian2"
	"github.com/apache/dubbo-go-hessian2/java8_time"
	gxbig "github.com/dubbogo/gost/math/big"

	"shop.example/api/catalogue"
	"shop.example/api/inventory"
)

// shelf is a catalogue that is asked, in whatever language it is written.
type shelf struct {
	conn             *client.Connection
	articles, outlet *catalogue.Client
}

// list is Java's List: dubbo-go takes a []string for an array.
type list []string

// inspect tries all that a catalogue can do, and tells of each thing "ok" or what
// was wrong with it.
func (s *shelf) inspect(ctx context.Context) map[string]string {
	report := map[string]string{}
	for name, check := range map[string]func(context.Context) error{
		"note": s.note, "search": s.search, "articles": s.all, "unknown": s.unknown, "withdraw": s.withdraw,
		"baggage": s.baggage, "outlet": s.half,
	} {
		report[name] = "ok"
		if err := check(ctx); err != nil {
			report[name] = err.Error()
		}
	}
	return report
}

func (s *shelf) call(ctx context.Context, method string, answer any, args ...any) error {
	return s.conn.CallUnary(ctx, args, answer, method, client.WithCallRetries(0))
}

func (s *shelf) note(ctx context.Context) error {
	sent, got := sample(), new(catalogue.Article)
	if err := s.call(ctx, "note", got, sent); err != nil {
		return err
	}
	var differ []string
	is, want := reflect.ValueOf(got).Elem(), reflect.ValueOf(sent).Elem()
	for i := range want.NumField() {
		field := want.Type().Field(i).Name
		if a, b := text(want.Field(i).Interface()), text(is.Field(i).Interface()); a != b {
			differ = append(differ, fmt.Sprintf("%s: sent %s, got %s", field, a, b))
		}
	}
	if differ != nil {
		return errors.New(strings.Join(differ, "; "))
	}
	return nil
}

// text is a value as it can be compared: numbers by their digits, times by their instant.
func text(v any) string {
	switch v := v.(type) {
	case *gxbig.Decimal:
		if v == nil {
			return "none"
		}
		return v.String()
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case map[string]*gxbig.Decimal:
		out := map[string]string{}
		for k, d := range v {
			out[k] = text(d)
		}
		return fmt.Sprint(out)
	case []*catalogue.Article:
		var out []string
		for _, a := range v {
			out = append(out, fmt.Sprintf("%s %s %d tags", a.Sku, text(a.Price), len(a.Tags)))
		}
		return fmt.Sprint(out)
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && !r.IsNil() {
		return fmt.Sprintf("%+v", r.Elem())
	}
	return fmt.Sprintf("%+v", v)
}

func (s *shelf) search(ctx context.Context) error {
	found := map[any]any{} // dubbo-go-hessian2 puts a map of classes into no other type
	if err := s.call(ctx, "search", &found, catalogue.Books, decimal("42.50")); err != nil {
		return err
	}
	book, _ := found["book"].(*catalogue.Article)
	if len(found) != 1 || book == nil || book.Name != "A Book of Dubbo" {
		return fmt.Errorf("found %v", found)
	}
	return nil
}

func (s *shelf) all(ctx context.Context) error {
	var found []any // nor a list
	if err := s.call(ctx, "articles", &found, catalogue.NewSkus("mug", "pen")); err != nil {
		return err
	}
	var skus []string
	for _, a := range found {
		if a, ok := a.(*catalogue.Article); ok {
			skus = append(skus, a.Sku)
		}
	}
	if !slices.Equal(skus, []string{"mug", "pen"}) {
		return fmt.Errorf("found %v", skus)
	}
	return nil
}

func (s *shelf) unknown(ctx context.Context) error {
	_, err := s.articles.Article(ctx, "nothing", client.WithCallRetries(0))
	return thrown(err, "org.example.shop.UnknownSkuException", "no article nothing in the catalogue")
}

func (s *shelf) withdraw(ctx context.Context) error {
	var none any
	return thrown(s.call(ctx, "withdraw", &none, "book"), "org.example.shop.OutOfPrintException", "book is out of print")
}

// thrown checks that an error is an exception of Java's.
func thrown(err error, class, message string) error {
	var e *hessian2.GenericException
	switch {
	case err == nil:
		return errors.New("nothing was thrown")
	case !errors.As(err, &e):
		return fmt.Errorf("a %T: %w", err, err)
	case e.ExceptionClass != class || !strings.Contains(e.ExceptionMessage, message):
		return fmt.Errorf("%s: %s", e.ExceptionClass, e.ExceptionMessage)
	}
	return nil
}

func (s *shelf) baggage(ctx context.Context) error {
	came := map[any]any{}
	ctx = context.WithValue(ctx, constant.AttachmentKey, map[string]any{"tenant": "blue"})
	if err := s.call(ctx, "baggage", &came, list{"tenant"}); err != nil {
		return err
	}
	if came["tenant"] != "blue" {
		return fmt.Errorf("came %v", came)
	}
	return nil
}

func (s *shelf) half(ctx context.Context) error {
	full, err := s.articles.Article(ctx, "book")
	if err != nil {
		return err
	}
	half, err := s.outlet.Article(ctx, "book")
	if err != nil {
		return err
	}
	if full.Price.String() != "42.50" || half.Price.String() != "21.25" {
		return fmt.Errorf("%s in the outlet, %s elsewhere", half.Price, full.Price)
	}
	return nil
}

func sample() *catalogue.Article {
	return &catalogue.Article{
		Sku: "quill", Name: "Gänsekiel 羽毛笔 🪶", Category: catalogue.Stationery, Price: decimal("12345678901234567890.0123456789"),
		Listed:   time.UnixMilli(1_767_225_600_123).UTC(),
		Released: &java8_time.LocalDate{Year: 2024, Month: 2, Day: 29},
		Updated:  localDateTime(2026, 3, 29, 2, 30, 15, 123_000_000),
		Tags:     []string{"old", "", "grün"}, Sizes: []int32{-1, 0, 70_000},
		PriceByCurrency: map[string]*gxbig.Decimal{"EUR": decimal("9.90"), "JPY": decimal("1600")},
		Similar:         []*catalogue.Article{{Sku: "ink", Price: decimal("0.333333333333333333333"), Listed: time.UnixMilli(0), Tags: []string{}}},
		Views:           -9_223_372_036_854_775_807, Weight: 0.1, InPrint: true, Picture: []byte{0, 255, 127},
		Stock: &inventory.Stock{Sku: "quill", Available: 7},
	}
}
