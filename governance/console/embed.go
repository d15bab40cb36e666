package console

import (
	"embed"
	"io/fs"
	"net/http"
)

// assets holds unbuilt.html, and below app/ what `make console` built. The
// directory as a whole is named, so that the program builds without the app too.
//
//go:embed all:assets
var assets embed.FS

// Pages serves the console that this program was built with.
func Pages() http.Handler {
	sub, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // the directory is embedded above
	}
	pages, err := NewPages(sub)
	if err != nil {
		panic(err) // nothing that is embedded fails to be read
	}
	return pages
}
