// Package kube makes Kubernetes the service registry.
//
// A Hub is one process's view of one cluster and its voice in it. It implements
// registry.Discoverer, Registrar, Mapping and MetadataStore. EndpointSlices say
// which addresses exist and how they are; the pod annotation io.dubbo/metadata,
// in the format of Dubbo Java's own Kubernetes registry, says what each
// instance speaks; weirmesh.io/instance adds weight, tag, zone, state and start
// time; custom resources of registry.weirmesh.io hold what is too large for
// annotations or belongs to no pod.
//
// # The way of a change
//
// A source (source.go) lists and watches one kind in one namespace, and gives
// what it hears to a table of the cache (table.go, space.go), which keeps only the fields
// that are served. The table marks the applications that are touched. An
// application that somebody follows is flushed (discoverer.go): the first change
// at once, followers together a little later. A flush joins slices and pods into
// a whole snapshot (join.go), drops it if it says nothing new, and hands it to a
// feed.Topic, which calls each follower on its own. Nothing runs for an
// application in which nothing happens.
//
// # What is not known
//
// Nothing is said of an application until every source it depends on has been
// heard in full once. A source that loses its watch keeps what it knows; only
// Snapshot.StaleSince and a metric change until it is back.
package kube
