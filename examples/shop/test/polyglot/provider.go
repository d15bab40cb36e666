package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"github.com/apache/dubbo-go-hessian2/java8_time"
	gxbig "github.com/dubbogo/gost/math/big"

	"shop.example/api/catalogue"
	"shop.example/api/inventory"
)

// Articles answers for the catalogue as examples/java/dubbo/catalogue does. It is
// exported, as are its methods, since dubbo-go finds them by reflection.
type Articles struct {
	instance string
	shelf    map[string]*catalogue.Article
}

func newArticles(instance string) *Articles {
	a := &Articles{instance: instance, shelf: map[string]*catalogue.Article{}}
	a.add("book", "A Book of Dubbo", catalogue.Books, "42.50", "5.45")
	a.add("lamp", "Reading lamp", catalogue.Lighting, "19.99", "2.56")
	a.add("mug", "Mug", catalogue.Kitchen, "7.25", "0.93")
	a.add("pen", "Pen", catalogue.Stationery, "1.10", "0.14")
	return a
}

func (a *Articles) add(sku, name string, category catalogue.Category, price, yuan string) {
	a.shelf[sku] = &catalogue.Article{
		Sku: sku, Name: name, Category: category, Price: decimal(price),
		Listed:   time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC),
		Released: &java8_time.LocalDate{Year: 2025, Month: 11, Day: 20},
		Updated:  localDateTime(2026, 1, 1, 12, 30, 15, 0),
		Tags:     []string{"new", strings.ToLower(category.String())}, Sizes: []int32{1, 2, 3},
		PriceByCurrency: map[string]*gxbig.Decimal{"EUR": decimal(price), "CNY": decimal(yuan)},
		Views:           9_007_199_254_740_993, Weight: 0.25, InPrint: true, Picture: []byte{0x89, 'P', 'N', 'G', 0, 0xff},
		ServedBy: a.instance,
	}
}

// Outlet is the same at half the price. It is a type of its own as dubbo-go knows
// services by the names of their types, and of two with one name the last.
type Outlet struct{ *Articles }

func (a *Articles) outlet() *Outlet {
	half := newArticles(a.instance)
	for _, article := range half.shelf {
		price := new(gxbig.Decimal)
		_ = gxbig.DecimalMul(article.Price, decimal("0.5"), price) // of numbers that are short
		article.Price = price
	}
	return &Outlet{half}
}

// Article tells about one article.
func (a *Articles) Article(_ context.Context, sku string) (*catalogue.Article, error) {
	if found := a.shelf[sku]; found != nil {
		return found, nil
	}
	return nil, inventory.NewUnknownSku(sku)
}

// Search finds the articles of a category up to a price. dubbo-go has pointers of
// enums over Dubbo, and takes either over Triple.
func (a *Articles) Search(_ context.Context, category *catalogue.Category, atMost *gxbig.Decimal) (map[string]*catalogue.Article, error) { //nolint:unparam // dubbo-go wants an error of every method
	found := map[string]*catalogue.Article{}
	for sku, article := range a.shelf {
		if article.Category == *category && article.Price.Compare(atMost) <= 0 {
			found[sku] = article
		}
	}
	return found, nil
}

// Texts is Java's List<String> or Set<String>: dubbo-go has lists of anything only,
// and hands a method that takes nothing but a []any all arguments in it.
type Texts []any

// Articles lists those in a set, all of them without one.
func (a *Articles) Articles(_ context.Context, skus Texts) ([]*catalogue.Article, error) { //nolint:unparam // dubbo-go wants an error of every method
	found := slices.SortedFunc(maps.Values(a.shelf), func(x, y *catalogue.Article) int { return cmp.Compare(x.Sku, y.Sku) })
	if skus == nil {
		return found, nil
	}
	return slices.DeleteFunc(found, func(x *catalogue.Article) bool { return !slices.Contains(skus, any(x.Sku)) }), nil
}

// Note answers an article as it was understood.
func (a *Articles) Note(_ context.Context, article *catalogue.Article) (*catalogue.Article, error) {
	return article, nil
}

// Withdraw fails with an exception that Java declares nowhere.
func (a *Articles) Withdraw(_ context.Context, sku string) error {
	return catalogue.NewOutOfPrint(sku)
}

// Baggage answers what came along with the call.
func (a *Articles) Baggage(ctx context.Context, keys Texts) (map[string]string, error) { //nolint:unparam // dubbo-go wants an error of every method
	all, _ := ctx.Value(constant.AttachmentKey).(map[string]any)
	if all != nil {
		all["served-by"] = a.instance // dubbo-go sends them all back with the answer
	}
	came := map[string]string{}
	for _, k := range keys {
		key, _ := k.(string)
		switch v := all[key].(type) {
		case nil:
		case []string:
			came[key] = strings.Join(v, ",")
		default:
			came[key] = fmt.Sprint(v)
		}
	}
	return came, nil
}

func decimal(text string) *gxbig.Decimal {
	d := new(gxbig.Decimal)
	if err := d.FromString(text); err != nil {
		panic(err) // it is written in this program
	}
	return d
}

func localDateTime(year, month, day, hour, minute, second, nano int32) *java8_time.LocalDateTime {
	return &java8_time.LocalDateTime{
		Date: java8_time.LocalDate{Year: year, Month: month, Day: day},
		Time: java8_time.LocalTime{Hour: hour, Minute: minute, Second: second, Nano: nano},
	}
}
