package reference

import (
	"slices"
	"strings"
)

// annotationsPage tells what the registry reads and writes on objects of the
// cluster.
func annotationsPage(root string) (string, error) {
	kube, err := read(root, "registry/kube")
	if err != nil {
		return "", err
	}
	ours := func(c constant) bool {
		return strings.HasPrefix(c.value, "weirmesh.io/") || strings.HasPrefix(c.value, "io.dubbo/")
	}
	annotations, err := kube.constants(func(c constant) bool { return ours(c) && strings.HasPrefix(strings.ToLower(c.name), "annotation") })
	if err != nil {
		return "", err
	}
	labels, err := kube.constants(func(c constant) bool { return ours(c) && strings.HasPrefix(strings.ToLower(c.name), "label") })
	if err != nil {
		return "", err
	}
	byValue := func(a, b constant) int { return strings.Compare(a.value, b.value) }
	slices.SortFunc(annotations, byValue)
	slices.SortFunc(labels, byValue)
	fields, err := kube.fields("instanceDocument")
	if err != nil {
		return "", err
	}
	p := newPage("Annotations and labels", `What Weir's registry reads and writes on objects of Kubernetes, beside [kinds of its own](objects.md).
[registry.md](../registry.md) says what becomes of them.`)
	p.heading(2, "Annotations")
	p.table([]string{"Annotation", ""}, rows(annotations))
	p.heading(2, "Labels")
	p.table([]string{"Label", ""}, rows(labels))
	p.heading(2, "weirmesh.io/instance")
	p.text("Fields of the JSON document. Those that a reader does not know are passed over.")
	p.table([]string{"Field", ""}, rows(fields))
	return p.String(), nil
}
