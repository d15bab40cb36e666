package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What --clusters says, in all the ways in which contexts are called.
func TestClustersAreNamed(t *testing.T) {
	here := filepath.Join(t.TempDir(), "west.kubeconfig")
	if err := os.WriteFile(here, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(here))
	const home = "/etc/home"
	for text, want := range map[string]other{
		"west":                         {"west", home, "west"},
		"west=prod":                    {"west", home, "prod"},
		"west=/etc/west:prod":          {"west", "/etc/west", "prod"},
		"west=/etc/west":               {"west", "/etc/west", ""},
		"west=./west:prod":             {"west", "./west", "prod"},
		"west=west.kubeconfig:prod":    {"west", "west.kubeconfig", "prod"},
		"west=/etc/west:arn:aws:eks:x": {"west", "/etc/west", "arn:aws:eks:x"},
		"west=arn:aws:eks:eu-west-1:123456789012:cluster/prod":  {"west", home, "arn:aws:eks:eu-west-1:123456789012:cluster/prod"},
		"west=default/api-west-example-com:6443/kube:admin":     {"west", home, "default/api-west-example-com:6443/kube:admin"},
		"west=/etc/west:default/api-west-example-com:6443/kube": {"west", "/etc/west", "default/api-west-example-com:6443/kube"},
	} {
		s := Several{Name: "east", Others: []string{text}}
		got, err := s.others(home)
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"": "names no cluster", "=prod": "names no cluster", "west=": "names no cluster", "west=/etc/west:": "names no cluster",
	} {
		if _, err := (&Several{Others: []string{text}}).others(home); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := (&Several{Others: []string{"west=prod"}}).others(""); err == nil || !strings.Contains(err.Error(), "names a context and no file") {
		t.Errorf("%v", err)
	}
}

// $KUBECONFIG may list files, and the context of another cluster stand in any.
func TestClustersOfSeveralFiles(t *testing.T) {
	dir := t.TempDir()
	var files []string
	for _, name := range []string{"east", "west"} {
		file := filepath.Join(dir, name)
		text := strings.ReplaceAll(`{"apiVersion":"v1","kind":"Config","current-context":"NAME",
			"clusters":[{"name":"NAME","cluster":{"server":"https://NAME.example.com"}}],
			"users":[{"name":"NAME","user":{"token":"x"}}],"contexts":[{"name":"NAME","context":{"cluster":"NAME","user":"NAME"}}]}`, "NAME", name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	list := strings.Join(files, string(filepath.ListSeparator))
	c, err := other{"west", list, "west"}.config()
	if err != nil || c.REST == nil || c.REST.Host != "https://west.example.com" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := (other{"west", list, "north"}).config(); err == nil || !strings.Contains(err.Error(), "north") {
		t.Errorf("%v", err)
	}
	if c, err := (other{"west", files[1], "west"}).config(); err != nil || c.Kubeconfig != files[1] || c.Context != "west" {
		t.Errorf("%+v, %v", c, err)
	}
}
