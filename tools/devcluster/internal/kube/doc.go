// Package kube holds the entry points of the child processes that are made of
// Kubernetes, etcd and CoreDNS code. It is the only package of this module
// that imports them, so that everything else compiles, vets and tests in
// seconds.
package kube
