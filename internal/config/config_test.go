package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/weirmesh/weir/internal/config"
)

type settings struct {
	DatabaseURL string
	DataDir     string
	Wait        time.Duration
	Replicas    int
	Verbose     bool
	Shop        string
	Namespaces  []string
}

func (s *settings) flags() *pflag.FlagSet {
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	fs.StringVar(&s.DatabaseURL, "database-url", s.DatabaseURL, "")
	fs.StringVar(&s.DataDir, "data-dir", s.DataDir, "")
	fs.DurationVar(&s.Wait, "wait", s.Wait, "")
	fs.IntVar(&s.Replicas, "replicas", s.Replicas, "")
	fs.BoolVar(&s.Verbose, "verbose", s.Verbose, "")
	config.Choice(fs, &s.Shop, "shop", "", []string{"auto", "true", "false"}, "")
	fs.StringSliceVar(&s.Namespaces, "namespaces", s.Namespaces, "")
	config.Secret(fs, "database-url")
	return fs
}

func defaults() *settings {
	return &settings{DataDir: "data", Wait: time.Second, Replicas: 1, Shop: "auto", Namespaces: []string{"default"}}
}

type input struct {
	args []string
	env  map[string]string
	file string
}

func load(t *testing.T, in input) (*settings, []config.Value, error) {
	t.Helper()
	s := defaults()
	fs := s.flags()
	if err := fs.Parse(in.args); err != nil {
		t.Fatal(err)
	}
	src := config.Source{
		Env:   func(name string) (string, bool) { v, ok := in.env[name]; return v, ok },
		Known: []string{"gateway-listen"},
	}
	if in.file != "" {
		t.Chdir(t.TempDir()) // messages name the file as it was given
		src.File = "weir.yaml"
		if err := os.WriteFile(src.File, []byte(in.file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	values, err := config.Load(fs, src)
	return s, values, err
}

func TestPrecedence(t *testing.T) {
	s, values, err := load(t, input{
		args: []string{"--wait=1m"},
		env:  map[string]string{"WEIR_WAIT": "2m", "WEIR_REPLICAS": "7", "WEIR_DATA_DIR": ""},
		file: `# one file may serve several roles
wait: 3m
replicas: 9
gateway-listen: :8080
data-dir: /var/lib/weir
namespaces: [shop, "bank"]
verbose: true
shop:
`,
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.Wait != time.Minute || s.Replicas != 7 || s.DataDir != "/var/lib/weir" || !s.Verbose || s.Shop != "auto" || !slices.Equal(s.Namespaces, []string{"shop", "bank"}) {
		t.Errorf("got %+v", s)
	}
	want := []config.Value{
		{Name: "data-dir", Value: "/var/lib/weir", Origin: "weir.yaml:5"},
		{Name: "database-url", Value: "", Origin: "default"},
		{Name: "namespaces", Value: "[shop,bank]", Origin: "weir.yaml:6"},
		{Name: "replicas", Value: "7", Origin: "environment WEIR_REPLICAS"},
		{Name: "shop", Value: "auto", Origin: "default"},
		{Name: "verbose", Value: "true", Origin: "weir.yaml:7"},
		{Name: "wait", Value: "1m0s", Origin: "flag --wait"},
	}
	if !slices.Equal(values, want) {
		t.Errorf("got  %v\nwant %v", values, want)
	}
}

func TestSecretsAreMasked(t *testing.T) {
	for given, want := range map[string]string{
		"postgres://weir:hunter2@db:5432/weir":           "postgres://weir:xxxxx@db:5432/weir",
		"postgres://db/weir?password=hunter2&sslmode=no": "postgres://db/weir?password=xxxxx&sslmode=no",
		"host=db password=hunter2":                       "xxxxx",
		"hunter2":                                        "xxxxx",
		"":                                               "",
	} {
		s, values, err := load(t, input{env: map[string]string{"WEIR_DATABASE_URL": given}})
		if err != nil {
			t.Fatal(err)
		}
		if s.DatabaseURL != given {
			t.Errorf("the setting itself is %q", s.DatabaseURL)
		}
		i := slices.IndexFunc(values, func(v config.Value) bool { return v.Name == "database-url" })
		if got := values[i].Value; got != want {
			t.Errorf("%q is printed as %q, want %q", given, got, want)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		in   input
		want []string
	}{
		"unknown key": {input{file: "data-dir: x\ndatabse-url: x\n"}, []string{`weir.yaml:2: unknown setting "databse-url"; did you mean "database-url"?`}},
		"other style": {input{file: "databaseUrl: x\n"}, []string{`did you mean "database-url"?`}},
		"far off":     {input{file: "colour: red\n"}, []string{"weir.yaml:1: unknown setting \"colour\"; `weir config` lists those there are"}},
		"several": {
			input{file: "wait: soon\nreplicas: many\n", env: map[string]string{"WEIR_SHOP": "maybe"}},
			[]string{`weir.yaml:1: wait: "soon" is no value for it`, `weir.yaml:2: replicas: "many" is no value for it`, `WEIR_SHOP: "maybe" is no value for it: it takes auto, true, false`},
		},
		"given twice":   {input{file: "wait: 1s\nwait: 2s\n"}, []string{"weir.yaml:2: wait stands here a second time; it was given at weir.yaml:1"}},
		"list":          {input{file: "wait: [1s]\n"}, []string{"weir.yaml:1: wait: takes one value, not a list"}},
		"section":       {input{file: "wait:\n  a: b\n"}, []string{"weir.yaml:1: wait: takes a plain value; the file is flat"}},
		"no mapping":    {input{file: "- wait\n"}, []string{`weir.yaml:1: want lines of the form "setting: value"`}},
		"no yaml":       {input{file: "a: b: c\n"}, []string{"configuration file weir.yaml"}},
		"nested a list": {input{file: "namespaces: [[a]]\n"}, []string{"takes a list of plain values"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := load(t, c.in)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
		})
	}
}

func TestFileThatIsNotThere(t *testing.T) {
	_, err := config.Load(defaults().flags(), config.Source{File: filepath.Join(t.TempDir(), "none.yaml")})
	if err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("got %v", err)
	}
}

func TestEmptyFile(t *testing.T) {
	s, _, err := load(t, input{file: "# nothing yet\n"})
	if err != nil || s.DataDir != "data" {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestSecretStaysOutOfErrors(t *testing.T) {
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	fs.Int("token", 0, "")
	config.Secret(fs, "token")
	_, err := config.Load(fs, config.Source{Env: func(string) (string, bool) { return "hunter2", true }})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}
